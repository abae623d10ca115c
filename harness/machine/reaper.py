# SPDX-License-Identifier: GPL-2.0-or-later
"""Make sure that no QEMU outlives the harness: a watcher process, and a reaper at the next start.

libvirt's embedded driver refuses VIR_DOMAIN_START_AUTODESTROY, and QEMU runs
in the background, so a killed harness would leave it behind. The watcher is a
small process in its own session, which a signal to the harness' process group
does not reach. It waits on a pidfd of the harness, then kills every QEMU under
the harness' embed root and removes the root. Only the standard library is
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
from dataclasses import dataclass
from pathlib import Path

LOCK = "lock"
# Lists files outside the root to be removed with it, one path per line.
TRASH = "trash"
_TRASH_SUFFIX = ".overlay.qcow2"


def start_watcher(root: Path) -> int:
    """Start the watcher of this process' embed root; returns the watcher's pid."""
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert watcher.stdout
    # The watcher prints a line once it holds this process' pidfd, and so will notice its death.
    watcher.stdout.readline()
    watcher.stdout.close()
    return watcher.pid


def reap_leftovers(folder: Path) -> list[Reaped]:
    """Reap every embed root in `folder` whose process has ended."""
    reaped = []
    for root in folder.iterdir():
        try:
            lock = os.open(root / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # just being created, or not an embed root
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        reaped.append(reap(root))
    return reaped


@dataclass(frozen=True)
class Reaped:
    """What became of an embed root.

    Attributes:
        killed: pids of the QEMUs that were killed and have ended.
        left: pids of those that were killed and do not end (state D: they wait inside the kernel). Their
            root is left too, so that the next start tries again.
    """

    root: Path
    killed: list[int]
    left: list[int]


def reap(root: Path, *, patience: float = 2.0, most: float = 10.0) -> Reaped:
    """Kill every QEMU of an embed root, and remove the root.

    Args:
        patience: seconds to search for a QEMU, since one may just be starting.
        most: seconds for all of it.
    """
    last = time.monotonic() + most
    end = time.monotonic() + patience
    killed: dict[int, None] = {}
    while True:
        found = _kill_all(root)
        if fresh := [pid for pid in found if pid not in killed]:
            killed |= dict.fromkeys(fresh)
            end = time.monotonic() + patience
        now = time.monotonic()
        if now >= last or (not found and (killed or now >= end)):
            break
        time.sleep(0.1)
    if not found:
        with contextlib.suppress(OSError):
            for line in (root / TRASH).read_text().splitlines():
                if line.endswith(_TRASH_SUFFIX):
                    Path(line).unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)
    return Reaped(root, [pid for pid in killed if pid not in found], found)


def _kill_all(root: Path) -> list[int]:
    """Send SIGKILL to every QEMU of a root that is still there; returns their pids."""
    killed = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        pid = int(entry.name)
        try:
            # The pidfd is opened before the command line is read: if the pid is
            # reused in between, the signal reaches no process that was not
            # inspected.
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
    # libvirt passes QEMU the paths of its monitor and secret, which are below the root.
    return any(os.fsencode(f"{root}/") in word for word in words[1:])


def watch(pid: int, root: Path) -> None:
    """Wait until process `pid` has ended, then reap its root."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with contextlib.suppress(OSError):  # it has ended already
        handle = os.pidfd_open(pid)
        if os.getppid() == pid:
            print("watching", flush=True)
            select.select([handle], [], [])
    # Also after a normal end, since only the watcher removes the root.
    reap(root)


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]))
