# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles of Xen, dom0 and every guest: recorded, split, merged, watched.

Xen and dom0 share one serial port (Xen writes dom0's hvc0 to it as it
comes), so that stream is taken apart first. Each layer's part goes to
``console-<layer>.log`` byte by byte, and all lines together, with the time of
arrival and the layer's name, to ``consoles.log``.
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
from harness.monitor.crashlines import blame
from harness.monitor.serial import SerialSplitter
from harness.monitor.waits import Crash, Watchdog, wait

_KEEP_LINES = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """One console line.

    Attributes:
        number: counts up over all layers.
        seconds: since the machine's start, when its first byte arrived.
        layer: ``xen``, ``dom0``, ``guest:<name>``, ``qemu``.
        text: without its end and without carriage returns.
    """

    number: int
    seconds: float
    layer: str
    text: str


class Consoles:
    """Records consoles into a run folder, and watches them.

    Args:
        run_dir: where the logs go; it exists.
        on_crash: called, on the feeding thread, for each crash line.
        clock: seconds, monotonic; time 0 of the logs is this object's making.
    """

    SERIAL = "serial"

    def __init__(
        self,
        run_dir: Path,
        *,
        on_crash: Callable[[Crash], object] = lambda crash: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_dir = run_dir
        self.started = clock()
        self.last_sound = self.started
        self._clock = clock
        self._on_crash = on_crash
        self._news = threading.Condition()
        self._stack = ExitStack()
        self._raw: dict[str, BinaryIO] = {}
        self._merged = self._open("consoles.log")
        self._serial = self._open("serial.raw")
        self._splitter = SerialSplitter()
        self._partial: dict[str, tuple[float, bytes]] = {}
        self._lines: deque[Line] = deque(maxlen=_KEEP_LINES)
        self._count = 0
        self._crashes: list[tuple[int, Crash]] = []
        self._names: dict[str, str] = {"dom0": "dom0"}
        self._expected: list[tuple[str, str]] = []
        self._closed = False

    def _open(self, name: str) -> BinaryIO:
        return self._stack.enter_context((self.run_dir / name).open("ab", buffering=0))

    # Recording.

    def feed(self, source: str, data: bytes) -> None:
        """Take newly arrived bytes.

        Args:
            source: `SERIAL` for Xen's and dom0's shared port, else the layer.
        """
        with self._news:
            if self._closed:
                return
            now = self._clock()
            self.last_sound = now
            crashes: list[Crash] = []
            if source == self.SERIAL:
                self._serial.write(data)
                for layer, piece in self._splitter.feed(data):
                    crashes += self._take(layer, piece, now)
            else:
                crashes += self._take(source, data, now)
            self._news.notify_all()
        for crash in crashes:
            self._on_crash(crash)

    def end(self, source: str) -> None:
        """Nothing more comes from `source`: what is left is its last line."""
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
        self._merged.write(f"[{line.seconds:9.3f}] {layer}: {text}\n".encode())
        guilty = blame(layer, text)
        if guilty is None:
            return []
        guilty = self._names.get(guilty, guilty)
        for meant in self._expected:
            if meant[0] == guilty and meant[1] in text:
                self._expected.remove(meant)
                return []
        crash = Crash(layer=guilty, line=text, seconds=line.seconds)
        self._crashes.append((line.number, crash))
        return [crash]

    def _write_raw(self, layer: str, data: bytes) -> None:
        if layer not in self._raw:
            self._raw[layer] = self._open(f"console-{layer.replace(':', '-')}.log")
        self._raw[layer].write(data)

    def name_domain(self, domid: int, layer: str) -> None:
        """Tell who domain `domid` is, for Xen's words about it, past and future."""
        with self._news:
            self._names[f"dom{domid}"] = layer
            self._crashes = [
                (number, replace(crash, layer=layer) if crash.layer == f"dom{domid}" else crash)
                for number, crash in self._crashes
            ]

    @contextmanager
    def expect_crash(self, layer: str, words: str) -> Iterator[None]:
        """Within the block one crash line of a layer is meant to come: the first that has these words."""
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
        """Write last lines and close the logs."""
        for source in (self.SERIAL, *list(self._partial)):
            self.end(source)
        with self._news:
            self._closed = True
            self._stack.close()
            self._news.notify_all()

    # Reading.

    def lines(self, *, layer: str | None = None, since: int = 0) -> list[Line]:
        """Lines so far, of one layer or all, from number `since` on."""
        with self._news:
            return [
                line
                for line in self._lines
                if line.number >= since and (layer is None or line.layer == layer)
            ]

    @property
    def next_number(self) -> int:
        """The number the next line will have."""
        with self._news:
            return self._count

    def find_crash(self, layer: str | None = None, *, since: int = 0) -> Crash | None:
        """The first crash line, with the lines around it.

        Args:
            layer: whose crash; None for any.
            since: number of the first line to look at (see `next_number`).
        """
        with self._news:
            found = [
                (number, crash)
                for number, crash in self._crashes
                if number >= since and layer in (None, crash.layer)
            ]
        if not found:
            return None
        number, crash = found[0]
        return replace(crash, excerpt=self._excerpt(number) or crash.line)

    def _excerpt(self, number: int, *, before: int = 15, after: int = 60) -> str:
        lines = self.lines(since=number - 2000)
        printer = next((one.layer for one in lines if one.number == number), None)
        told = [one for one in lines if one.layer == printer]
        # Xen prints registers and stack before "Panic on CPU", Linux after
        # "BUG:"; both belong to the crash.
        head = [one.text for one in told if one.number < number]
        head = head[-(3 * before if printer == "xen" else before) :]
        tail = [one.text for one in told if one.number >= number][:after]
        return "\n".join(head + tail)

    def tail(self, layer: str, count: int = 20) -> str:
        """The last lines of a layer, the one that has not ended included."""
        with self._news:
            texts = [line.text for line in self._lines if line.layer == layer]
            if layer in self._partial:
                texts.append(self._partial[layer][1].decode("utf-8", "replace"))
        return "\n".join(texts[-count:])

    # Waiting.

    def wake(self) -> None:
        """Let every waiter look up: something was lost."""
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
        """Wait for a line that `pattern` (a regular expression) is found in.

        Args:
            layer: on this layer's console only.
            since: number of the first line to look at.
            total, silence: deadlines, seconds at reference speed.
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
                last_sound=lambda: self.last_sound,
                hint=hint,
            )

    def settle(self, *, quiet: float, most: float) -> None:
        """Let what follows a crash line arrive: until `quiet` seconds without
        a byte, be it of a line that has not ended, `most` seconds at the longest."""
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

