# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows files in dom0 that grow: a guest's console, and xl's log of it."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.errors import EvhError
from harness.machine.ssh import Stream

if TYPE_CHECKING:
    from harness.machine.machine import Machine

# The longest a follower may need at the end for what is still on its way.
_DRAIN_SECONDS = 5.0


class Follower:
    """Gives what is appended to a file in dom0, from its first byte.

    The file is emptied first; on stop() what came since the last look is
    fetched too.
    """

    def __init__(
        self, machine: Machine, path: str, heard: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._path = path
        self._heard = heard
        self._ended = ended
        quoted = shlex.quote(path)
        # `-F`: xenconsoled makes the file when the guest's console appears.
        # Its number in front tells that the old content is gone too.
        self._stream: Stream = machine.dom0.stream(
            f"rm -f {quoted}; echo $$; exec tail -c +1 -s 0.3 -F {quoted} 2>/dev/null", timeout=1e9
        )
        self._seen = 0
        self._stopping = threading.Event()
        self._pid = self._stream.readline() or ""
        self._thread = threading.Thread(target=self._run, name=f"follow-{path}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(EvhError, OSError):
            while data := self._stream.read():
                self._seen += len(data)
                self._heard(data)

    def stop(self, *, drain: bool) -> None:
        """End; with `drain`, after everything the file holds has been given."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if drain:
            with contextlib.suppress(EvhError, OSError):
                self._drain()
        self._stream.close()
        self._thread.join(timeout=2.0)
        self._ended()

    def _drain(self) -> None:
        """End `tail`, which outlives its channel, and fetch what the file holds beyond what was seen."""
        self._stream.close()
        self._thread.join(timeout=2.0)
        rest = self._machine.dom0.stream(
            f"kill {self._pid}; tail -c +{self._seen + 1} {shlex.quote(self._path)} 2>/dev/null",
            timeout=_DRAIN_SECONDS * 4,
        )
        with rest:
            while data := rest.read():
                self._seen += len(data)
                self._heard(data)

