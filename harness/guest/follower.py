# SPDX-License-Identifier: GPL-2.0-or-later
"""Follows growing files in dom0: a guest's console, and xl's log of that guest."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.core.errors import EvhError, reason_of
from harness.machine.stream import Stream

if TYPE_CHECKING:
    from harness.machine.machine import Machine

# How long a follower waits at the end for data still in transit (the SSH timeout is four times this).
_DRAIN_SECONDS = 5.0
# For dom0 to begin; a console may then be silent for as long as its guest is.
_START_SECONDS = 60.0


class Follower:
    """Passes everything written to a file in dom0 to `on_data`, from the first byte.

    An existing file is removed first. stop() also fetches what was written
    since the last read, and then calls `ended`. If it cannot go on before that,
    it calls `failed` with the reason, on its own thread.
    """

    def __init__(
        self,
        machine: Machine,
        path: str,
        on_data: Callable[[bytes], None],
        ended: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._machine = machine
        self._path = path
        self._on_data = on_data
        self._ended = ended
        self._failed = failed
        quoted = shlex.quote(path)
        # `-F`: xenconsoled creates the file when the guest's console appears.
        # The shell prints its pid after the removal, so reading it also confirms that the old file is gone.
        self._stream: Stream = machine.dom0.stream(
            f"rm -f {quoted}; echo $$; exec tail -c +1 -s 0.3 -F {quoted} 2>/dev/null", timeout=None
        )
        self._seen = 0
        self._stopping = threading.Event()
        self._pid = self._stream.readline(within=_START_SECONDS) or ""
        self._thread = threading.Thread(target=self._run, name=f"follow-{path}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        why = "the command that reads it has ended"
        try:
            while data := self._stream.read():
                self._seen += len(data)
                self._on_data(data)
        except Exception as error:
            why = reason_of(error)
        if not self._stopping.is_set() and not self._machine.watchdog.lost:
            self._failed(why)

    def stop(self, *, drain: bool) -> None:
        """Stop following; with `drain`, pass on everything the file holds first."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if drain:
            try:
                self._drain()
            except (EvhError, OSError) as error:
                if not self._machine.watchdog.lost:
                    self._failed(reason_of(error))
        self._stream.close()
        self._thread.join(timeout=2.0)
        self._ended()

    def _drain(self) -> None:
        """Kill `tail`, which outlives its SSH channel, and fetch the part of the file not yet seen."""
        self._stream.close()
        self._thread.join(timeout=2.0)
        rest = self._machine.dom0.stream(
            f"kill {self._pid}; tail -c +{self._seen + 1} {shlex.quote(self._path)} 2>/dev/null",
            timeout=_DRAIN_SECONDS * 4,
        )
        with rest:
            while data := rest.read():
                self._seen += len(data)
                self._on_data(data)

