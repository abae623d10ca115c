# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be removed: real locks, real run folders, real disk blocks."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import make_run

from harness.core.errors import UserError
from harness.dev.clean import is_run_dir, refuse_while_used, size_of, under_way
from harness.machine.attach import attachable


def test_store_with_free_locks_may_go_and_its_locks_stay_free(tmp_path: Path) -> None:
    refuse_while_used(tmp_path, [])  # a store that was never used has no locks
    lock = tmp_path / "locks" / "xen-abc"
    lock.parent.mkdir()
    lock.touch()
    refuse_while_used(tmp_path, [])
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("kind", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_one_lock_that_is_held_keeps_the_store(tmp_path: Path, kind: int) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    for name in ("linux-def", "xen-abc"):
        (locks / name).touch()
    with (locks / "xen-abc").open() as file:
        fcntl.flock(file, kind)
        with pytest.raises(UserError, match="holds the lock xen-abc") as caught:
            refuse_while_used(tmp_path, [])
    assert "--no-store" in caught.value.hint
    refuse_while_used(tmp_path, [])


def test_run_under_way_keeps_the_store_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="runs/live") as caught:
        refuse_while_used(tmp_path, [Path("runs/live")])
    assert "--no-store" in caught.value.hint


@pytest.mark.parametrize("name", ["run.json", "domain.xml", "consoles.log"])
def test_run_folder_is_known_by_any_file_of_a_run(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert not is_run_dir(run)
    (run / name).touch()
    assert is_run_dir(run)


def test_link_to_a_run_folder_is_not_one(tmp_path: Path) -> None:
    """What a link leads to lies elsewhere, and was not asked about."""
    run = make_run(tmp_path / "run", state="finished", pid=0)
    (tmp_path / "link").symlink_to(run)
    assert is_run_dir(run)
    assert not is_run_dir(tmp_path / "link")
    assert not is_run_dir(run / "run.json")
    assert not is_run_dir(tmp_path / "missing")


def test_run_is_under_way_while_its_process_lives(tmp_path: Path) -> None:
    child = subprocess.Popen(["sh", "-c", "read line"], stdin=subprocess.PIPE)
    run = make_run(tmp_path / "run", state="running", pid=child.pid)
    assert under_way(run)
    child.communicate()
    assert not under_way(run)


def test_finished_run_is_not_under_way_though_its_pid_is_in_use_again(tmp_path: Path) -> None:
    assert not under_way(make_run(tmp_path / "run", state="finished", pid=os.getpid()))


def test_folder_without_a_readable_record_is_not_under_way(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert not under_way(run)
    (run / "run.json").write_text("{")
    assert not under_way(run)


def test_machine_that_is_kept_up_is_under_way_after_its_run(tmp_path: Path) -> None:
    for name in ("key", "host_key.pub"):
        (tmp_path / name).write_text("ssh-ed25519 AAAA test\n")
    machine: Any = SimpleNamespace(
        dom0=SimpleNamespace(address=("127.0.0.1", 40022)),
        guests={},
        built=SimpleNamespace(ssh_key=tmp_path / "key", host_key=tmp_path / "host_key.pub"),
    )
    kept = make_run(tmp_path / "kept", state="finished", pid=os.getpid())
    other = make_run(tmp_path / "other", state="finished", pid=os.getpid())
    with attachable(machine, kept):
        assert under_way(kept)
        assert not under_way(other)
    assert not under_way(kept)


def test_size_is_what_the_disk_has(tmp_path: Path) -> None:
    """Overlays are sparse: their length says nothing."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert size_of(tmp_path / "sparse") < 1 << 20
    (tmp_path / "full").write_bytes(b"x" * 1_000_000)
    assert 1_000_000 <= size_of(tmp_path / "full") < 1_100_000


def test_size_of_a_folder_is_that_of_all_in_it_but_not_behind_links(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 5_000_000)
    folder = tmp_path / "run" / "machine-1"
    folder.mkdir(parents=True)
    (folder / "console").write_bytes(b"x" * 1_000_000)
    (folder / "link").symlink_to(tmp_path / "large")
    assert 1_000_000 <= size_of(tmp_path / "run") < 1_100_000
    (tmp_path / "away").symlink_to(tmp_path / "run")
    assert size_of(tmp_path / "away") < 100_000
