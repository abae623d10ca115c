# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles of Xen, dom0 and every guest: recorded per layer, merged, and watched for crash lines.

Xen and dom0 share one serial port, which serial.py splits first. Each layer's
bytes go unchanged to ``console-<layer>.log``; all lines together, each with its
time of arrival and its layer, go to ``consoles.log``.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from harness.core.deprecated import warn_renamed
from harness.core.files import write_all
from harness.monitor.crashreports import CrashReports, Report
from harness.monitor.crashtable import Severity
from harness.monitor.knownissues import KnownIssues
from harness.monitor.serial import SerialSplitter
from harness.monitor.waits import Crash, Watchdog, wait

_KEEP_LINES = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """One console line.

    Attributes:
        number: position among the lines of all layers, from 0.
        seconds: when its first byte arrived, counted from the machine's start.
        layer: ``xen``, ``dom0``, ``guest:<name>``, ``dom<number>`` for what Xen prints for a domain
            other than dom0, or ``qemu``.
        text: the line without its line end and without carriage returns.
    """

    number: int
    seconds: float
    layer: str
    text: str


class Consoles:
    """Records consoles into a run folder, and watches them.

    Args:
        run_dir: existing folder for the logs.
        on_crash: called for each crash, on the thread that calls `feed`, when its first line arrives.
        known: crashes to pass over.
        clock: returns monotonic seconds; the logs count from when this object is created.
    """

    SERIAL = "serial"

    def __init__(
        self,
        run_dir: Path,
        *,
        on_crash: Callable[[Crash], object] = lambda crash: None,
        known: KnownIssues | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_dir = run_dir
        self.started = clock()
        self.last_output = self.started
        self._clock = clock
        self._on_crash = on_crash
        self._news = threading.Condition()
        self._stack = ExitStack()
        self._raw: dict[str, BinaryIO] = {}
        self._merged = self._open("consoles.log")
        self._serial = self._open("serial.raw")
        self._serial_begins = self._serial.tell()  # a folder may be used twice
        self._splitter = SerialSplitter()
        self._partial: dict[str, tuple[float, bytes]] = {}
        self._lines: deque[Line] = deque(maxlen=_KEEP_LINES)
        self._count = 0
        self._known = known or KnownIssues()
        # A Linux dom0 that powers off or reboots takes the machine with it, which nobody asks for.
        self._reports = CrashReports(passes=self._passes, dom0_must_stay=True)
        self._expected: list[tuple[str, str]] = []
        self._closed = False

    def _open(self, name: str) -> BinaryIO:
        return self._stack.enter_context((self.run_dir / name).open("ab", buffering=0))

    def _write(self, file: BinaryIO, data: bytes) -> None:
        try:
            write_all(file, data)
        except OSError as error:
            raise OSError(error.errno, f"cannot write {file.name}: {error.strerror}") from error

    # Recording.

    def feed(self, source: str, data: bytes) -> None:
        """Record newly arrived bytes.

        Args:
            source: `SERIAL` for the port that Xen and dom0 share, else the layer.
        """
        with self._news:
            if self._closed:
                return
            now = self._clock()
            self.last_output = now
            crashes: list[Crash] = []
            if source == self.SERIAL:
                self._write(self._serial, data)
                for layer, piece in self._splitter.feed(data):
                    crashes += self._take(layer, piece, now)
            else:
                crashes += self._take(source, data, now)
            self._news.notify_all()
        for crash in crashes:
            self._on_crash(crash)

    def past(self) -> bytes:
        """All that has arrived from the serial port."""
        with self._news, Path(self._serial.name).open("rb") as file:
            file.seek(self._serial_begins)
            return file.read()

    def replay(self, past: bytes) -> None:
        """Begin with what another machine's serial port had transmitted when it was saved: this one goes on.

        Crash lines in it count as if they were printed now.
        """
        self.feed(self.SERIAL, past)
        with self._news:
            text = "evh: restored from a snapshot; the lines so far were printed when it was booted"
            self._line("qemu", text.encode(), self._clock())

    def end(self, source: str) -> None:
        """Mark `source` as finished: an incomplete last line becomes a line."""
        layers = ("xen", "dom0") if source == self.SERIAL else (source,)
        crashes: list[Crash] = []
        with self._news:
            if self._closed:
                return
            now = self._clock()
            if source == self.SERIAL:
                for layer, piece in self._splitter.flush():
                    crashes += self._take(layer, piece, now)
            for layer in layers:
                if layer in self._partial:
                    since, text = self._partial.pop(layer)
                    crashes += self._line(layer, text, since)
                # What comes later on a console with this name is another guest's.
                self._reports.end(layer)
            self._news.notify_all()
        for crash in crashes:
            self._on_crash(crash)

    def _take(self, layer: str, piece: bytes, now: float) -> list[Crash]:
        self._write_raw(layer, piece)
        since, text = self._partial.pop(layer, (now, b""))
        *whole, rest = (text + piece).split(b"\n")
        crashes = []
        for line in whole:
            crashes += self._line(layer, line, since)
            since = now
        if rest:
            self._partial[layer] = (since, rest)
        return crashes

    def _line(self, layer: str, raw: bytes, since: float) -> list[Crash]:
        text = raw.replace(b"\r", b"").decode("utf-8", "replace")
        line = Line(self._count, since - self.started, layer, text)
        self._count += 1
        self._lines.append(line)
        report = self._reports.take(line.number, layer, text)  # first: it counts even on a full disk
        self._write(self._merged, f"[{line.seconds:9.3f}] {layer}: {text}\n".encode())
        return [self._crash(report, line.seconds)] if report else []

    def _passes(self, layer: str, line: str, severity: Severity) -> bool:
        """Whether a crash report that begins with this line is expected, or known."""
        for expected in self._expected:
            if expected[0] == layer and expected[1] in line:
                self._expected.remove(expected)
                return True
        return self._known.passes(layer, line, severity)

    def _crash(self, report: Report, seconds: float) -> Crash:
        return Crash(layer=report.layer, line=report.line, seconds=seconds, meaning=report.meaning)

    def _write_raw(self, layer: str, data: bytes) -> None:
        if layer not in self._raw:
            self._raw[layer] = self._open(f"console-{layer.replace(':', '-')}.log")
        self._write(self._raw[layer], data)

    def name_domain(self, domid: int, layer: str) -> None:
        """Attribute crashes that Xen reports of domain `domid`, past and future, to `layer`."""
        with self._news:
            self._reports.name(f"dom{domid}", layer)

    @contextmanager
    def expect_crash(self, layer: str, words: str) -> Iterator[None]:
        """Within the block, pass over the first crash of `layer` whose first line contains `words`."""
        with self._news:
            self._expected.append((layer, words))
        try:
            yield
        finally:
            with self._news, suppress(ValueError):
                self._expected.remove((layer, words))

    def meant(self, layer: str, words: str) -> AbstractContextManager[None]:
        """The old name of ``expect_crash``."""
        warn_renamed("consoles.meant()", "consoles.expect_crash()")
        return self.expect_crash(layer, words)

    def close(self) -> None:
        """Write incomplete last lines and close the logs."""
        for source in (self.SERIAL, *list(self._partial)):
            with suppress(OSError):  # a full disk: the lines have been judged, and the files must be closed
                self.end(source)
        with self._news:
            self._closed = True
            self._stack.close()
            self._news.notify_all()

    # Reading.

    def lines(self, *, layer: str | None = None, since: int = 0) -> list[Line]:
        """Lines so far, of one layer or of all, from number `since` on; at most the last 100 000."""
        with self._news:
            return [
                line
                for line in self._lines
                if line.number >= since and (layer is None or line.layer == layer)
            ]

    @property
    def next_number(self) -> int:
        """The number that the next line will get."""
        with self._news:
            return self._count

    def find_crash(self, layer: str | None = None, *, since: int = 0) -> Crash | None:
        """The first crash, with all lines of its report and some before it.

        Args:
            layer: only crashes of this layer; None for any.
            since: number of the first line to search (see `next_number`).
        """
        with self._news:
            found = [
                report
                for report in self._reports.reports
                if not report.passed and report.first >= since and layer in (None, report.layer)
            ]
        if not found:
            return None
        report = found[0]
        lines = [one for one in self.lines(since=report.first - 2000) if one.layer == report.printer]
        seconds = next((one.seconds for one in lines if one.number == report.first), 0.0)
        excerpt = _excerpt([one for one in lines if one.number <= report.last], report)
        return replace(self._crash(report, seconds), excerpt=excerpt or report.line)

    def tail(self, layer: str, count: int = 20) -> str:
        """The last lines of a layer, including an incomplete one."""
        with self._news:
            texts = [line.text for line in self._lines if line.layer == layer]
            if layer in self._partial:
                texts.append(self._partial[layer][1].decode("utf-8", "replace"))
        return "\n".join(texts[-count:])

    # Waiting.

    def wake(self) -> None:
        """Wake every waiter so that it checks its watchdog."""
        with self._news:
            self._news.notify_all()

    def wait_line(
        self,
        pattern: str,
        *,
        watchdog: Watchdog,
        what: str,
        total: float,
        silence: float | None = None,
        layer: str | None = None,
        since: int = 0,
        hint: str = "",
    ) -> Line:
        """Wait for a line that contains a match of the regular expression `pattern`.

        Args:
            watchdog, what, hint: as for `waits.wait`.
            total, silence: deadlines, seconds at reference speed.
            layer: search only this layer's console; None for all.
            since: number of the first line to search.
        Raises: as `waits.wait`.
        """
        sought = re.compile(pattern)
        position = since

        def answer(seconds: float) -> Line | None:
            nonlocal position
            with self._news:
                if self._count <= position and not watchdog.lost:
                    self._news.wait(seconds)
                fresh = self._from(position)
                position = self._count
            for line in fresh:
                if layer in (None, line.layer) and sought.search(line.text):
                    return line
            return None

        with watchdog.on_loss(self.wake):
            return wait(
                answer,
                watchdog=watchdog,
                what=what,
                total=total,
                silence=silence,
                last_output=lambda: self.last_output,
                hint=hint,
            )

    def settle(self, *, quiet: float, most: float) -> None:
        """Wait for the output that follows a crash line, until no byte has arrived for
        `quiet` seconds, but at most `most` seconds."""
        end = self._clock() + most
        with self._news:
            while not self._closed and (left := end - self._clock()) > 0:
                if not self._news.wait(min(quiet, left)):
                    return

    def _from(self, number: int) -> list[Line]:
        if number >= self._count:
            return []
        fresh: list[Line] = []
        for line in reversed(self._lines):
            if line.number < number:
                break
            fresh.append(line)
        return fresh[::-1]



def _excerpt(lines: list[Line], report: Report, *, before: int = 15, after: int = 80) -> str:
    """The report's lines and those before it: Xen prints registers and stack before "Panic on CPU"."""
    head = [one.text for one in lines if one.number < report.first]
    head = head[-(3 * before if report.printer == "xen" else before) :]
    body = [one.text for one in lines if one.number >= report.first][:after]
    return "\n".join(head + body)
