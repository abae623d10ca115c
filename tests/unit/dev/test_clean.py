# SPDX-License-Identifier: GPL-2.0-or-later
"""What may be removed: real locks, real run folders, real disk blocks."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest
from fakes import make_run, process

from harness.core.errors import UserError
from harness.core.locks import IN_USE, using
from harness.dev.clean import is_run_dir, size_of, under_way, unused
from harness.run.record import load


def test_store_with_free_locks_may_go_and_its_locks_stay_free(tmp_path: Path) -> None:
    with unused(tmp_path):  # a store that was never used has no locks
        pass
    lock = tmp_path / "locks" / "xen-abc"
    lock.parent.mkdir()
    lock.touch()
    with unused(tmp_path):
        pass
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
        with pytest.raises(UserError, match="holds the lock xen-abc") as caught, unused(tmp_path):
            pass
    assert "--no-store" in caught.value.hint
    with unused(tmp_path):
        pass


USES_STORE = """
from harness.store.artifacts import Store
with Store(folder).in_use(say=print):
    print("there", flush=True)
    sys.stdin.readline()
"""
def test_everybody_who_uses_the_store_keeps_it_and_is_named(tmp_path: Path) -> None:
    users = [process(tmp_path, USES_STORE) for _ in range(2)]
    for user in users:
        with pytest.raises(UserError, match="in use by pid") as caught, unused(tmp_path):
            pass
        assert f"pid {user.pid} ({sys.executable} -c" in caught.value.message
        assert "--no-store" in caught.value.hint
        user.kill()  # nothing is left behind that has to be cleared
        user.communicate()
    with unused(tmp_path):
        pass


@pytest.mark.parametrize("name", ["run.json", "validate.json", "domain.xml", "consoles.log", IN_USE])
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


def test_process_that_has_the_number_of_a_run_that_ended_is_not_that_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", state="running", pid=os.getpid())
    assert not under_way(run) and load(run)[1].state == "killed"
    with using(run):
        assert under_way(run) and load(run)[1].state == "running"


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
