# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress on stderr: the steps under way and how long each has taken.

A terminal shows one live line for each step; elsewhere (CI, a pipe) plain
lines carry the seconds since the start.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from harness.core.text import duration, printable

# Seconds: shorter steps are not shown.
QUIET = 2.0
# Seconds between two lines about one step when there is no terminal.
HEARTBEAT = 30.0


class Step:
    """A step under way; ``update`` sets its progress."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.detail = ""
        self.started = time.monotonic()
        self.spoken: float | None = None
        self.announce_end = True

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        """Replace the detail shown after the name, such as "1234 objects"."""
        self.detail = detail

    def line(self) -> str:
        """Name, elapsed time and detail in one line."""
        return f"{self.name}: {duration(self.elapsed)}{', ' + self.detail if self.detail else ''}"


class Progress:
    """Reports steps; thread-safe.

    Attributes:
        timings: (name, seconds) of every finished step, in the order they ended.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.timings: list[tuple[str, float]] = []
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, highlight=False, markup=False, soft_wrap=True)
        self._began = time.monotonic()
        self._lock = threading.RLock()
        self._steps: list[Step] = []
        self._live: Live | None = None
        self._ticker: threading.Thread | None = None
        self._idle = threading.Event()

    def say(self, text: str) -> None:
        """Print ``text``, which may quote a console, above any live lines."""
        text = printable(text)
        with self._lock:
            if self._console.is_terminal:
                self._console.print(text)
            else:
                stamp = f"[{time.monotonic() - self._began:6.1f}s] "
                lines = text.splitlines() or [""]
                pad = " " * len(stamp)
                print(stamp + f"\n{pad}".join(lines), file=self._stream, flush=True)

    @contextmanager
    def step(self, name: str, *, announce_end: bool = True) -> Iterator[Step]:
        """Time a step; it is shown once it has taken ``QUIET`` seconds.

        Args:
            announce_end: False if the caller reports the end itself.
        """
        step = Step(name)
        step.announce_end = announce_end
        self._enter(step)
        try:
            yield step
        except BaseException:
            self._leave(step, "failed after")
            raise
        self._leave(step, "done in")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._steps.clear()
            self._rest()

    def _enter(self, step: Step) -> None:
        with self._lock:
            self._steps.append(step)
            if self._ticker is None:
                self._idle.clear()
                self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
                self._ticker.start()

    def _leave(self, step: Step, how: str) -> None:
        with self._lock:
            self._steps.remove(step)
            self.timings.append((step.name, step.elapsed))
            if step.elapsed >= QUIET and step.announce_end:
                self.say(f"{step.name}: {how} {duration(step.elapsed)}")
            if not self._steps:
                self._rest()

    def _rest(self) -> None:
        """Stop the live lines and the ticker when no step is left."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._idle.set()
        self._ticker = None

    def _tick(self) -> None:
        idle = self._idle
        while not idle.wait(0.25):
            with self._lock:
                if threading.current_thread() is not self._ticker:
                    return
                self._show()

    def _show(self) -> None:
        long = [step for step in self._steps if step.elapsed >= QUIET]
        if self._console.is_terminal:
            if long and self._live is None:
                # No redirection: pytest also replaces sys.stdout while a test runs, and
                # whichever stream is restored last would stay.
                self._live = Live(
                    console=self._console, transient=True, refresh_per_second=4,
                    redirect_stdout=False, redirect_stderr=False,
                )
                self._live.start()
            if self._live is not None:
                self._live.update(Group(*(Spinner("dots", text=Text(printable(s.line()))) for s in long)))
            return
        for step in long:
            if step.spoken is None or step.elapsed - step.spoken >= HEARTBEAT:
                step.spoken = step.elapsed
                self.say(step.line())
