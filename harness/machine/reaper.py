# SPDX-License-Identifier: GPL-2.0-or-later
"""No QEMU outlives the harness: a watcher beside it, and a reaper at the next start.

libvirt's embedded driver refuses VIR_DOMAIN_START_AUTODESTROY, and QEMU runs
in the background, so that a harness that is killed leaves it behind. The watcher
is a small process in a session of its own (a signal to the harness' process
group does not reach it), which waits on a pidfd of the harness, kills what
runs under its embed root, and removes the root. Only the standard library is
used, since this file is also run as a program.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

LOCK = "lock"
# One path per line: files outside the root that go with it.
TRASH = "trash"
_TRASH_SUFFIX = ".overlay.qcow2"


def start_watcher(root: Path) -> int:
    """Start the watcher of this process' embed root; returns its pid."""
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert watcher.stdout
    # It answers once it holds our pidfd: from here on our death is seen.
    watcher.stdout.readline()
    watcher.stdout.close()
    return watcher.pid


def reap_leftovers(folder: Path) -> list[Path]:
    """Reap every embed root in `folder` whose process is gone.

    Returns: the roots that were reaped.
    """
    reaped = []
    for root in folder.iterdir():
        try:
            lock = os.open(root / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # being made right now, or not ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        reap(root)
        reaped.append(root)
    return reaped


def reap(root: Path, *, patience: float = 2.0) -> list[int]:
    """Kill every QEMU of an embed root, and remove the root.

    Args:
        patience: seconds to go on looking after the last one was found: one
            may just be starting.
    Returns: pids that were killed.
    """
    killed: list[int] = []
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = _kill_all(root)
        if found:
            killed += found
            end = time.monotonic() + patience
        elif killed:
            break
        time.sleep(0.1)
    with contextlib.suppress(OSError):
        for line in (root / TRASH).read_text().splitlines():
            if line.endswith(_TRASH_SUFFIX):
                Path(line).unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)
    return killed


def _kill_all(root: Path) -> list[int]:
    killed = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        pid = int(entry.name)
        try:
            # The pidfd first: if the pid is recycled before the look at its
            # command line, the signal goes to the process that was looked at
            # or to none.
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if _is_qemu_of(pid, root):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                killed.append(pid)
        except OSError:
            pass
        finally:
            os.close(handle)
    return killed


def _is_qemu_of(pid: int, root: Path) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if b"qemu" not in words[0]:
        return False
    # libvirt hands QEMU the monitor and secret paths below the root.
    return any(os.fsencode(f"{root}/") in word for word in words[1:])


def watch(pid: int, root: Path) -> None:
    """Wait for the end of process `pid`, then reap its root."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with contextlib.suppress(OSError):  # it is gone already
        handle = os.pidfd_open(pid)
        if os.getppid() == pid:
            print("watching", flush=True)
            select.select([handle], [], [])
    # Also after a clean end: the root has to go, and nobody else does it.
    reap(root)


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]))
