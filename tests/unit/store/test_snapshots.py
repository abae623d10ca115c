# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved machines in the store: found by key, noticed when they were written, removed beyond the budget."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.core import locks
from harness.store.snapshots import LEFTOVER, Snapshots


@pytest.fixture
def kept(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path)


def make(kept: Snapshots, key: str, size: int = 8192) -> Path:
    with kept.make(key) as folder:
        (folder / "memory").write_bytes(b"m" * size)
    return kept.root / key


def used(home: Path, ago: float) -> None:
    stamp = time.time() - ago
    os.utime(home / "used", (stamp, stamp))


def test_what_was_made_is_found(kept: Snapshots) -> None:
    make(kept, "a")
    with kept.open("a") as (folder, problem):
        assert folder is not None and (folder / "memory").read_bytes() == b"m" * 8192
        assert problem == ""
    with kept.open("b") as found:
        assert found == (None, "")


def test_nothing_is_found_of_what_was_not_completed(kept: Snapshots) -> None:
    with pytest.raises(OSError, match="full"), kept.make("a") as folder:
        (folder / "memory").write_bytes(b"half")
        raise OSError("the disk is full")
    with kept.open("a") as found:
        assert found == (None, "")
    assert [path.name for path in kept.root.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("how", ["written", "longer", "gone", "replaced", "no stamps"])
def test_what_was_written_since_is_not_used(kept: Snapshots, how: str) -> None:
    memory = make(kept, "a") / "memory"
    before = memory.stat()
    if how == "written":
        memory.write_bytes(b"M" * 8192)
        os.utime(memory, ns=(before.st_atime_ns, before.st_mtime_ns))  # the time of the last change tells
    elif how == "longer":
        with memory.open("ab") as file:
            file.write(b"m")
    elif how == "gone":
        memory.unlink()
    elif how == "replaced":
        other = memory.with_name("other")
        other.write_bytes(b"m" * 8192)
        other.rename(memory)
    else:
        (memory.parent / "stamps.json").write_text("[]")
    with kept.open("a") as (folder, problem):
        assert folder is None
        assert problem


def test_key_depends_on_inputs_and_on_each_write_of_a_file(kept: Snapshots, tmp_path: Path) -> None:
    file = tmp_path / "xen"
    file.write_bytes(b"xen")
    first = kept.key({"qemu": "10"}, {"xen": file})
    assert first == kept.key({"qemu": "10"}, {"xen": file})
    assert first != kept.key({"qemu": "11"}, {"xen": file})
    file.write_bytes(b"XEN")
    assert first != kept.key({"qemu": "10"}, {"xen": file})
    file.unlink()
    with pytest.raises(OSError):
        kept.key({"qemu": "10"}, {"xen": file})


def test_refused_one_is_removed_and_the_reasons_are_kept(kept: Snapshots) -> None:
    assert kept.refusals("a") == []
    make(kept, "a")
    kept.refuse("a", "no answer\nfor 60 s")
    with kept.open("a") as found:
        assert found == (None, "")
    make(kept, "a")
    kept.refuse("a", "again")
    assert kept.refusals("a") == ["no answer for 60 s", "again"]
    assert kept.refusals("b") == []


def test_least_recently_used_ones_go_beyond_the_budget(tmp_path: Path) -> None:
    # 16 KiB and some for the stamps each; three do not fit, two do.
    kept = Snapshots(tmp_path, budget=3 * (16 << 10))
    used(make(kept, "old", 16 << 10), 100)
    used(make(kept, "older", 16 << 10), 200)
    with kept.open("older"):
        pass
    make(kept, "new", 16 << 10)
    assert sorted(path.name for path in kept.root.iterdir() if path.is_dir()) == ["new", "older"]


def test_one_that_is_larger_than_the_budget_is_kept_alone(tmp_path: Path) -> None:
    """It serves the run that made it."""
    kept = Snapshots(tmp_path, budget=1)
    make(kept, "a")
    make(kept, "b")
    assert [path.name for path in kept.root.iterdir() if path.is_dir()] == ["b"]


def test_nothing_is_pruned_while_somebody_starts_from_one(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, budget=1)
    make(kept, "a")
    with kept.open("a") as (folder, _):
        assert folder is not None
        make(kept, "b")
        assert (folder / "memory").exists()
    kept.prune(keep=kept.root / "b")
    assert not folder.exists()


def test_leftovers_of_killed_runs_go(kept: Snapshots) -> None:
    make(kept, "a")
    left, fresh = kept.root / ".make-left", kept.root / ".make-fresh"
    for folder in (left, fresh):
        folder.mkdir()
    stamp = time.time() - LEFTOVER - 10
    os.utime(left, (stamp, stamp))
    kept.prune()
    assert not left.exists() and fresh.exists()


def test_lock_is_that_of_the_folder(kept: Snapshots) -> None:
    make(kept, "a")
    with kept.open("a"), locks.alone(kept.root) as user:
        assert user
