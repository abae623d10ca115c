# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a machine: every wait ends, and says why.

A wait ends for the first of four reasons: the answer came, QEMU died, a
console printed a crash line, or a deadline passed (silence, or total). The
last three are exceptions that carry the verdict.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from harness.core.errors import EvhError
from harness.core.records import Verdict

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Crash:
    """A line that says a layer is broken.

    Attributes:
        layer: whose crash it is: ``xen``, ``dom0``, ``guest:<name>``, ``qemu``.
        line: the line itself, as printed.
        seconds: since the machine's start.
        excerpt: the lines around it on the console that printed it.
    """

    layer: str
    line: str
    seconds: float
    excerpt: str = ""


def words_of(crash: Crash) -> str:
    """A crash in one line: Xen gives the reason on the line after "Panic on CPU"."""
    line = crash.line.removeprefix("(XEN) ").strip()
    if line.startswith("Panic on CPU"):
        after = crash.excerpt.partition(crash.line)[2].strip().splitlines()
        line = " ".join([line, *(reason.removeprefix("(XEN) ").strip() for reason in after[:1])])
    return line


class MachineLost(EvhError):
    """A machine or guest will not answer any more, or did not in time."""

    verdict = Verdict.ERROR
    layer = ""


class MachineDied(MachineLost):
    """QEMU ended though nobody asked it to."""

    verdict = Verdict.CRASH
    layer = "qemu"


class MachineCrashed(MachineLost):
    """A console printed a crash line; ``crash`` has it."""

    verdict = Verdict.CRASH

    def __init__(self, message: str, *, crash: Crash, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.crash = crash
        self.layer = crash.layer


class GuestEnded(MachineLost):
    """A guest is gone without a crash line: it powered off, or rebooted."""

    verdict = Verdict.FAIL


class TimedOut(MachineLost):
    """The total deadline of a wait passed. ``layer`` is who hangs, where that was found out."""

    verdict = Verdict.HANG
    layer = ""


class Silence(TimedOut):
    """Nothing at all came for longer than the silence deadline."""


class Watchdog:
    """What ends a wait besides its answer, for one machine or guest.

    A guest's watchdog has its machine's as `parent`: what loses the machine
    loses the guest, not the other way round.

    Args:
        parent: the watchdog this one also keeps.
        clock: seconds, monotonic.

    Attributes:
        suspect: finds out who hangs when a deadline has passed (suspects.py).
    """

    def __init__(
        self, *, parent: Watchdog | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.parent = parent
        self.clock = clock
        self.find_hung_layer: Callable[[], str] | None = None
        self._asks = threading.Lock()
        self._asker = 0
        self._time_scale = 1.0
        self._lock = threading.Lock()
        self._loss: Callable[[], MachineLost] | None = None
        self._listeners: dict[int, Callable[[], object]] = {}
        self._next_listener = 0
        # Readable from the moment of the loss, for ever: any number of
        # waiters can poll it beside their own descriptor.
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def time_scale(self) -> float:
        """How many times slower than the reference machine (LAB metrics)."""
        return self.parent.time_scale if self.parent else self._time_scale

    @time_scale.setter
    def time_scale(self, factor: float) -> None:
        if self.parent:
            raise AttributeError("time_scale is measured on the machine, not on a guest")
        self._time_scale = factor

    def hung(self) -> str:
        """Who hangs, now that a deadline has passed; empty where that cannot be told."""
        if self.find_hung_layer is None or self._asker == threading.get_ident():
            return ""  # who asks waits too
        with self._asks:
            self._asker = threading.get_ident()
            try:
                return self.find_hung_layer()
            finally:
                self._asker = 0

    def lose(self, loss: Callable[[], MachineLost]) -> bool:
        """End every wait, present and future; only the first call counts.

        Args:
            loss: makes the exception, when somebody is there to see it.
        Returns: True if this call was the first.
        """
        with self._lock:
            if self._loss is not None:
                return False
            self._loss = loss
            listeners = list(self._listeners.values())
        os.eventfd_write(self._alarm, 1)
        for listener in listeners:
            listener()
        return True

    @property
    def lost(self) -> bool:
        """Whether this watchdog, or its parent, is lost."""
        return self._loss is not None or (self.parent is not None and self.parent.lost)

    def check(self) -> None:
        """Raise what lost the machine, if anything did."""
        if self.parent:
            self.parent.check()
        if self._loss is not None:
            raise self._loss()

    def alarms(self) -> list[int]:
        """Descriptors that become readable when a loss happens."""
        return [self._alarm, *(self.parent.alarms() if self.parent else [])]

    def poll(self, descriptor: int, seconds: float) -> bool:
        """Wait until `descriptor` is readable, a loss, or `seconds`.

        Returns: whether the descriptor is readable.
        """
        poller = select.poll()
        for one in (descriptor, *self.alarms()):
            poller.register(one, select.POLLIN)
        ready = poller.poll(min(max(0.0, seconds), 3600.0) * 1000)
        return any(one == descriptor for one, _ in ready)

    @contextmanager
    def on_loss(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener` when a loss happens within the block (or before it)."""
        watchdogs = [self, *([self.parent] if self.parent else [])]
        tokens = [watchdog._listen(listener) for watchdog in watchdogs]
        try:
            if self.lost:
                listener()
            yield
        finally:
            for watchdog, token in zip(watchdogs, tokens, strict=True):
                watchdog._unlisten(token)

    def _listen(self, listener: Callable[[], object]) -> int:
        with self._lock:
            self._next_listener += 1
            self._listeners[self._next_listener] = listener
            return self._next_listener

    def _unlisten(self, token: int) -> None:
        with self._lock:
            self._listeners.pop(token, None)

    def close(self) -> None:
        """Give the descriptor back; no wait may be running."""
        os.close(self._alarm)


def wait(
    answer: Callable[[float], T | None],
    *,
    watchdog: Watchdog,
    what: str,
    total: float,
    silence: float | None = None,
    last_sound: Callable[[], float] | None = None,
    hint: str = "",
) -> T:
    """Wait for `answer`, a loss, or a deadline, whichever is first.

    Args:
        answer: called with the seconds it may block at most; returns None
            when nothing came yet. Has to return early on a loss.
        watchdog: what is watched meanwhile, and the time_scale that scales both
            deadlines.
        what: what is awaited, for the message ("dom0's first SSH answer").
        total: seconds at reference speed.
        silence: seconds at reference speed without any sound; None for no
            such deadline.
        last_sound: time of the last sound, on the watchdog's clock.
        hint: next step, for a deadline's message.
    Raises: MachineDied, MachineCrashed, GuestEnded: the watchdog was lost.
        Silence, TimedOut: a deadline passed.
    """
    start = watchdog.clock()
    scale = watchdog.time_scale
    while True:
        watchdog.check()
        now = watchdog.clock()
        left = start + total * scale - now
        if left <= 0:
            raise no_answer(what, watchdog=watchdog, total=total, hint=hint)
        if silence is not None:
            heard = max(start, last_sound() if last_sound else start)
            quiet_left = heard + silence * scale - now
            if quiet_left <= 0:
                raise _blamed(Silence(_late("not a sound", what, silence, scale), hint=hint), watchdog)
            left = min(left, quiet_left)
        got = answer(left)
        if got is not None:
            return got


def no_answer(what: str, *, watchdog: Watchdog, total: float, hint: str = "") -> TimedOut:
    """A deadline that has passed, for waits that somebody else keeps; says who hangs.

    Args:
        what, watchdog, total, hint: as in ``wait``.
    """
    return _blamed(TimedOut(_late("no answer", what, total, watchdog.time_scale), hint=hint), watchdog)


def _blamed(error: TimedOut, watchdog: Watchdog) -> TimedOut:
    error.layer = watchdog.hung()
    return error


def _late(how: str, what: str, seconds: float, scale: float) -> str:
    took = f"{seconds * scale:.0f} s"
    if abs(scale - 1) > 0.05:
        took += f" ({seconds:g} s at reference speed, times {scale:.1f} on this host)"
    return f"{how} for {took} while waiting for {what}"
