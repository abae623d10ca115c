# SPDX-License-Identifier: GPL-2.0-or-later
"""The store: hits, misses with their reason, damage, and processes that race or are killed."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from harness.core.errors import InfraError, UserError
from harness.core.progress import Progress
from harness.store.artifacts import KEEP, Store
from harness.store.hashes import key_of


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Progress:
    return Progress(said)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write(text: str):
    def make(dest: Path) -> None:
        (dest / "sub").mkdir()
        (dest / "sub/file").write_text(text)

    return make


def never(dest: Path) -> None:
    raise AssertionError("made again")


def test_second_time_is_a_hit(store: Store, progress: Progress) -> None:
    first = store.get("thing", {"a": "1"}, write("x"), progress)
    again = store.get("thing", {"a": "1"}, never, progress)
    assert (first.hit, again.hit) == (False, True)
    assert again.path == first.path and again.files == first.files
    assert (again.path / "sub/file").read_text() == "x"


def test_a_miss_names_the_input_that_changed(
    store: Store, progress: Progress, said: io.StringIO
) -> None:
    assert store.get("thing", {"a": "1", "b": "2"}, write("x"), progress).reason == "first build"
    second = store.get("thing", {"a": "1", "b": "3", "c": "4"}, write("y"), progress)
    assert second.reason == "b changed: 2 -> 3; c is new"
    assert "b changed: 2 -> 3" in said.getvalue()
    assert "a changed" not in said.getvalue()


def test_reason_compares_with_the_newest(store: Store, progress: Progress) -> None:
    store.get("thing", {"a": "1"}, write("x"), progress)
    store.get("thing", {"a": "2"}, write("x"), progress)
    assert store.reason("thing", {"a": "3"}) == "a changed: 2 -> 3"


@pytest.mark.parametrize(("kind", "left"), [("thing", KEEP), ("xtf-baseline", KEEP + 3)])
def test_old_artifacts_go_but_small_ones_stay_longer(
    store: Store, progress: Progress, kind: str, left: int
) -> None:
    with store.in_use(say=print):
        for number in range(KEEP + 2):
            store.get(kind, {"a": str(number)}, write("x"), progress)
        for stamp in (store.root / "stamps").iterdir():
            os.utime(stamp, (1, 1))
        new = store.get(kind, {"a": "new"}, write("x"), progress)
    assert len(list((store.root / kind).iterdir())) == left
    assert new.path.is_dir()


def test_nothing_goes_while_somebody_uses_the_store(store: Store, progress: Progress) -> None:
    """A machine that is kept up for days still has its kernel."""
    with store.in_use(say=print):
        for number in range(KEEP + 2):
            store.get("thing", {"a": str(number)}, write("x"), progress)
        for stamp in (store.root / "stamps").iterdir():
            os.utime(stamp, (1, 1))
        with Store(store.root).in_use(say=print):
            pass
        assert len(list((store.root / "thing").iterdir())) == KEEP + 2
    assert len(list((store.root / "thing").iterdir())) == KEEP


def test_what_is_made_often_is_made_in_silence(store: Store, progress: Progress, said: io.StringIO) -> None:
    store.get("thing", {"a": "1"}, write("x"), progress, announce=False)
    assert said.getvalue() == ""
    store.get("thing", {"a": "2"}, write("x"), progress)
    assert said.getvalue().endswith("thing: building (a changed: 1 -> 2)\n")


@pytest.mark.parametrize("harm", ["byte", "truncated", "missing", "manifest", "other manifest"])
def test_damage_is_noticed_and_made_good(
    store: Store, progress: Progress, said: io.StringIO, harm: str
) -> None:
    artifact = store.get("thing", {"a": "1"}, write("content"), progress)
    file = artifact.path / "sub/file"
    manifest = artifact.path / "manifest.json"
    if harm == "byte":
        stat = file.stat()
        file.write_text("cOntent")
        # Damage is found even if the times are restored.
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif harm == "truncated":
        file.write_text("con")
    elif harm == "missing":
        file.unlink()
    elif harm == "manifest":
        manifest.write_text(manifest.read_text()[:-20])
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"key": "0" * 32}))
    again = store.get("thing", {"a": "1"}, write("content"), progress)
    assert not again.hit
    assert (again.path / "sub/file").read_text() == "content"
    assert "damaged" in said.getvalue()
    assert list(again.path.parent.glob(".corrupt-*"))
    assert store.get("thing", {"a": "1"}, never, progress).hit


def test_a_copied_store_is_still_good(store: Store, progress: Progress, tmp_path: Path) -> None:
    """A CI cache restores files with other inodes and times; they are hashed again, then it is a hit."""
    artifact = store.get("thing", {"a": "1"}, write("x"), progress)
    os.utime(artifact.path / "sub/file", (0, 0))
    assert store.get("thing", {"a": "1"}, never, progress).hit


def test_failure_leaves_nothing_but_its_log(store: Store, progress: Progress) -> None:
    def make(dest: Path) -> None:
        (dest / "half").write_text("half")
        (dest / "build.log").write_text("cc: error: line 7\n")
        raise UserError("does not compile", hint="correct it")

    with pytest.raises(UserError, match="does not compile") as caught:
        store.get("thing", {"a": "1"}, make, progress)
    assert caught.value.hint == "correct it"
    log = Path(caught.value.message.split("whole log: ")[1])
    assert log.read_text() == "cc: error: line 7\n"
    assert list((store.root / "thing").iterdir()) == []


def test_full_disk_is_an_error_with_a_next_step(store: Store, progress: Progress) -> None:
    def make(dest: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InfraError, match="no space left") as caught:
        store.get("thing", {"a": "1"}, make, progress)
    assert "evh clean" in caught.value.hint
    assert list((store.root / "thing").iterdir()) == []


def slow_maker(root: Path, marks: Path, seconds: float) -> None:
    """In a separate process: make an artifact slowly and leave a file named after the pid."""

    def make(dest: Path) -> None:
        (dest / "half").write_text("first half")
        (marks / f"made-{os.getpid()}").touch()
        time.sleep(seconds)
        (dest / "whole").write_text("second half")

    Store(root).get("thing", {"a": "1"}, make, Progress(io.StringIO()))


def spawn(*args: object) -> multiprocessing.Process:
    process = multiprocessing.get_context("spawn").Process(target=slow_maker, args=args)
    process.start()
    return process


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    processes = [spawn(tmp_path / "store", tmp_path, 0.5) for _ in range(3)]
    for process in processes:
        process.join(30)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("made-*"))) == 1
    assert Store(tmp_path / "store").get("thing", {"a": "1"}, never, Progress(io.StringIO())).hit


def test_sigkill_in_the_middle_leaves_nothing_that_is_taken_for_whole(
    store: Store, progress: Progress, tmp_path: Path
) -> None:
    process = spawn(store.root, tmp_path, 60)
    wait_for(lambda: list(tmp_path.glob("made-*")))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    left = list((store.root / "thing").iterdir())
    assert left and all(path.name.startswith(".make-") for path in left)
    assert not store.has("thing", {"a": "1"})
    artifact = store.get("thing", {"a": "1"}, write("whole"), progress)
    assert not artifact.hit
    assert (artifact.path / "sub/file").read_text() == "whole"
    # The killed process's leftovers were removed, and its lock was released.
    assert [path.name for path in (store.root / "thing").iterdir()] == [artifact.key]


def test_old_and_unused_artifacts_make_room(store: Store, progress: Progress) -> None:
    made = [store.get("thing", {"a": str(n)}, write("x"), progress) for n in range(6)]
    long_ago = time.time() - 30 * 24 * 3600
    for stamp in (store.root / "stamps").iterdir():
        os.utime(stamp, (long_ago, long_ago))
    with store.in_use(say=print):
        store.get("thing", {"a": "0"}, never, progress)  # used again
        store.get("thing", {"a": "new"}, write("x"), progress)
    left = {path.name for path in (store.root / "thing").iterdir()}
    assert len(left) == 4
    assert made[0].key in left


def test_nothing_used_lately_is_dropped(store: Store, progress: Progress) -> None:
    with store.in_use(say=print):
        for n in range(8):
            store.get("thing", {"a": str(n)}, write("x"), progress)
    assert len(list((store.root / "thing").iterdir())) == 8


def test_files_that_are_edited_while_they_are_compiled_are_compiled_again(
    store: Store, said: io.StringIO, tmp_path: Path
) -> None:
    made: list[str] = []
    file = tmp_path / "tool.c"
    file.write_text("one")

    def make(dest: Path) -> None:
        made.append(file.read_text())
        (dest / "tool").write_text(made[-1])
        if len(made) == 1:
            file.write_text("two")

    artifact = store.get("tools", lambda: {"tool.c": file.read_text()}, make, Progress(said))
    assert made == ["one", "two"]
    assert artifact.key == key_of("tools", {"tool.c": "two"})
    assert [path.name for path in (store.root / "tools").iterdir()] == [artifact.key]
    assert "tools: tool.c changed meanwhile; beginning again" in said.getvalue()


def test_files_that_change_all_the_time_are_an_error(store: Store, said: io.StringIO, tmp_path: Path) -> None:
    numbers = iter(range(100))
    with pytest.raises(UserError, match=r"tools cannot be built: tool\.c changed meanwhile") as caught:
        store.get("tools", lambda: {"tool.c": str(next(numbers))}, lambda dest: None, Progress(said))
    assert caught.value.hint
