# SPDX-License-Identifier: GPL-2.0-or-later
"""The reaper and its watcher, on real processes that look like QEMU."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.machine import reaper

Start = Callable[..., "subprocess.Popen[bytes]"]

# A harness whose QEMU is a process with a session of its own, as libvirt starts it.
HARNESS = """
import signal, subprocess, sys
from pathlib import Path
from harness.machine import reaper
root = Path(sys.argv[1])
watcher = reaper.start_watcher(root)
qemu = subprocess.Popen(["qemu-system-x86_64", "-c", "read line", f"{root}/monitor"], executable="/bin/sh",
                        start_new_session=True)
print(watcher, qemu.pid, flush=True)
signal.pause()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "roots" / "a"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes under any name; each waits for a line of input that never comes."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, name: str = "qemu-system-x86_64") -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [name, "-c", "read line", *words], executable="/bin/sh", stdin=subprocess.PIPE
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def harness(root: Path) -> Iterator[SimpleNamespace]:
    """A harness process, its watcher and its QEMU; pidfds of the last two, which are not our children."""
    child = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(root)],
        env=os.environ | {"PYTHONPATH": str(Path(reaper.__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout
    watcher, qemu = map(int, child.stdout.readline().split())
    handles = [os.pidfd_open(watcher), os.pidfd_open(qemu)]
    yield SimpleNamespace(child=child, watcher=handles[0], qemu=handles[1])
    child.kill()
    child.communicate()
    for handle in handles:
        if not ended(handle, seconds=0):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


def ended(handle: int, *, seconds: float = 10) -> bool:
    return bool(select.select([handle], [], [], seconds)[0])


def test_reap_kills_the_qemus_of_its_root_alone_and_removes_the_root(root: Path, start: Start) -> None:
    ours = [start(f"{root}/monitor"), start("-S", f"socket,path={root}/b")]
    others = [
        start(f"{root}2/monitor"),
        start("-S", name=f"{root}/qemu"),
        start(f"{root}/monitor", name="virsh"),
    ]
    (root / "etc").mkdir()
    assert sorted(reaper.reap(root).killed) == sorted(child.pid for child in ours)
    assert [child.wait(5) for child in ours] == [-signal.SIGKILL] * 2
    assert [child.poll() for child in others] == [None] * 3
    assert not root.exists()


def test_reap_goes_on_looking_for_a_qemu_that_is_just_starting(
    root: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[subprocess.Popen[bytes]] = []
    look = reaper._kill_all

    def look_then_start(where: Path) -> list[int]:
        found = look(where)
        if not late:
            late.append(start(f"{root}/monitor"))
        return found

    monkeypatch.setattr(reaper, "_kill_all", look_then_start)
    assert reaper.reap(root).killed == [late[0].pid]
    assert late[0].wait(5) == -signal.SIGKILL


def test_reap_ends_though_a_qemu_does_not_and_says_which(root: Path, start: Start, monkeypatch) -> None:
    """SIGKILL does nothing to a process in state D; no test can have one, so here no signal is sent."""
    qemu = start(f"{root}/monitor")
    with monkeypatch.context() as without:
        without.setattr(signal, "pidfd_send_signal", lambda handle, number: None)
        begin = time.monotonic()
        assert reaper.reap(root, most=0.5) == reaper.Reaped(root, [], [qemu.pid])
        assert time.monotonic() - begin < 5
    assert root.exists(), "the next start must find it"
    assert reaper.reap(root) == reaper.Reaped(root, [qemu.pid], [])
    assert not root.exists()


def test_reap_removes_listed_overlays_outside_the_root_and_no_other_file(root: Path) -> None:
    names = ("a.overlay.qcow2", "b.overlay.qcow2", "thesis")
    overlay, missing, thesis = (root.parent / name for name in names)
    overlay.touch()
    thesis.touch()
    (root / reaper.TRASH).write_text(f"{missing}\n{overlay}\n{thesis}\n")
    reaper.reap(root, patience=0)
    assert not overlay.exists()
    assert thesis.exists()


def test_leftovers_are_the_roots_whose_lock_is_free(root: Path, start: Start) -> None:
    """A root without a lock is being made; one whose lock a living process holds is in use."""
    unlocked = root.parent / "unlocked"
    unlocked.mkdir()
    qemu = start(f"{root}/monitor")
    with (root / reaper.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        owner = subprocess.Popen(["sh", "-c", "read line"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    try:
        assert reaper.reap_leftovers(root.parent) == []
        assert qemu.poll() is None
    finally:
        owner.kill()
        owner.communicate()
    assert reaper.reap_leftovers(root.parent) == [reaper.Reaped(root, [qemu.pid], [])]
    assert qemu.wait(5) == -signal.SIGKILL
    assert not root.exists()
    assert unlocked.exists()


def test_watcher_reaps_when_the_whole_process_group_is_killed(root: Path, harness: SimpleNamespace) -> None:
    os.killpg(harness.child.pid, signal.SIGKILL)
    assert ended(harness.qemu)
    assert ended(harness.watcher)
    assert not root.exists()


def test_watcher_survives_signals_and_leaves_a_living_harness_alone(
    root: Path, harness: SimpleNamespace
) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.pidfd_send_signal(harness.watcher, number)
    assert not ended(harness.watcher, seconds=0.2)
    assert not ended(harness.qemu, seconds=0)
    harness.child.kill()
    assert ended(harness.qemu)
    assert ended(harness.watcher)
    assert not root.exists()


@pytest.mark.parametrize("recycled", [False, True])
def test_watcher_that_comes_too_late_reaps_at_once(root: Path, start: Start, recycled: bool) -> None:
    """The harness is gone, or its pid is by now that of a process which is not the watcher's parent."""
    other = start(name="other")
    if not recycled:
        other.communicate()
    qemu = start(f"{root}/monitor")
    got = subprocess.run(
        [sys.executable, "-I", "-S", reaper.__file__, str(other.pid), str(root)],
        capture_output=True,
        timeout=10,
    )
    assert (got.returncode, got.stdout, got.stderr) == (0, b"", b"")
    assert qemu.wait(5) == -signal.SIGKILL
    assert not root.exists()
