# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's process: libvirt leaves it to init, and waits at each machine's end until init has noticed.

That takes as long as init lets it: two seconds on some hosts, for ever in a container whose
first program waits for nobody. So this process becomes the parent of what its children leave
behind (PR_SET_CHILD_SUBREAPER, prctl(2)), and waits for QEMU itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import signal
import threading

_PR_SET_CHILD_SUBREAPER = 36


@functools.cache
def adopt_orphans() -> bool:
    """From now on, this process is the parent of orphans of its children; returns whether it is."""
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Child:
    """A process that is, or may be, a child of this one. A thread waits for its end.

    Args:
        pid: its process id; it must not have been waited for.
    Raises: OSError: there is no such process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self._thread = threading.Thread(target=self._wait, name=f"wait-{pid}", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        select.select([self._handle], [], [])
        with contextlib.suppress(ChildProcessError):  # somebody else's: then that one waits
            os.waitpid(self.pid, 0)

    def kill(self, *, patience: float = 2.0) -> None:
        """Kill it, and wait until it has ended, for at most `patience` seconds; call once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self._thread.join(patience)
        if not self._thread.is_alive():
            os.close(self._handle)
