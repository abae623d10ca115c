# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a machine: every wait ends, and reports why.

A wait ends at the first of four events: the answer arrives, QEMU dies, a
console prints a crash line, or a deadline (silence or total) passes. The last
three raise exceptions that carry the verdict.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from harness.core.errors import EvhError
from harness.core.records import Verdict

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Crash:
    """A console line that reports a crash.

    Attributes:
        layer: the layer that crashed: ``xen``, ``dom0``, ``guest:<name>`` or ``qemu``.
        line: the line as printed.
        seconds: since the machine's start.
        excerpt: the lines around it on the same console.
        meaning: what happened, where the line alone does not say it.
    """

    layer: str
    line: str
    seconds: float
    excerpt: str = ""
    meaning: str = ""

    @property
    def reason(self) -> str:
        """What happened, in one line."""
        line = self.line.strip()
        return f"{self.meaning}: {line}" if self.meaning else line


def words_of(crash: Crash) -> str:
    """A crash in one line; for "Panic on CPU" with the reason, which Xen prints on the next line."""
    line = crash.line.removeprefix("(XEN) ").strip()
    if line.startswith("Panic on CPU"):
        after = crash.excerpt.partition(crash.line)[2].strip().splitlines()
        line = " ".join([line, *(reason.removeprefix("(XEN) ").strip() for reason in after[:1])])
    return f"{crash.meaning}: {line}" if crash.meaning else line


class MachineLost(EvhError):
    """A machine or guest cannot answer any more, or did not answer in time."""

    verdict = Verdict.ERROR
    layer = ""


class MachineDied(MachineLost):
    """QEMU ended unexpectedly."""

    verdict = Verdict.CRASH
    layer = "qemu"


class MachineCrashed(MachineLost):
    """A console printed a crash line, which ``crash`` holds."""

    verdict = Verdict.CRASH

    def __init__(self, message: str, *, crash: Crash, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.crash = crash
        self.layer = crash.layer


class ConsoleLost(MachineLost):
    """A console is not recorded any more, so that nothing is known of what the layer has printed since."""

    def __init__(self, layer: str, why: str) -> None:
        super().__init__(
            f"the console of {layer} is not recorded any more: {why}",
            hint="A crash of this layer would go unseen, so the cell is an error. Is the disk full?",
        )
        self.layer = layer


class DiskLost(MachineLost):
    """QEMU cannot write to dom0's temporary disk on this host, and has stopped the machine."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"dom0's disk, {path} on this host, cannot be written: {why}",
            hint="Free some space there (evh clean shows what uses it), or choose another --run-dir.",
        )


class GuestEnded(MachineLost):
    """A guest ended without a crash line: it powered off or rebooted."""

    verdict = Verdict.FAIL


class TimedOut(MachineLost):
    """The total deadline of a wait passed. ``layer`` is the layer that hangs, if it was found."""

    verdict = Verdict.HANG
    layer = ""


class Silence(TimedOut):
    """No output arrived for longer than the silence deadline."""


@dataclass(frozen=True, kw_only=True)
class Hung:
    """The layer that hangs after a deadline has passed.

    Attributes:
        layer: its name; empty if it cannot be found.
        why: what was found out about it; may be empty.
    """

    layer: str = ""
    why: str = ""


class Watched(Protocol):
    """Something that can be lost: a machine, a guest, or an SSH connection to one of them."""

    @property
    def watchdog(self) -> Watchdog: ...


class Watchdog:
    """What ends a wait besides its answer, for one machine or guest.

    A guest's watchdog has its machine's as `parent`: losing the machine loses
    the guest, but not the other way round.

    Args:
        parent: a watchdog whose loss also ends this one's waits.
        beside: further such watchdogs.
        clock: returns monotonic seconds.

    Attributes:
        find_hung_layer: finds the layer that hangs once a deadline has passed (machine/attribution.py).
    """

    def __init__(
        self,
        *,
        parent: Watchdog | None = None,
        beside: Sequence[Watchdog] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.parent = parent
        self.beside = tuple(beside)
        self.clock = clock
        self.find_hung_layer: Callable[[], Hung] | None = None
        self._asks = threading.Lock()
        self._asker = 0
        self._time_scale = 1.0
        self._lock = threading.Lock()
        self._loss: Callable[[], MachineLost] | None = None
        self._listeners: dict[int, Callable[[], object]] = {}
        self._next_listener = 0
        # Once readable, it stays so: any number of waiters can poll it
        # together with their own descriptor.
        self._alarm: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def time_scale(self) -> float:
        """How many times slower than the reference host this machine runs; a guest has its machine's."""
        return self.parent.time_scale if self.parent else self._time_scale

    @time_scale.setter
    def time_scale(self, factor: float) -> None:
        if self.parent:
            raise AttributeError("time_scale is measured on the machine, not on a guest")
        self._time_scale = factor

    def hung(self) -> Hung:
        """The layer that hangs, to be called once a deadline has passed."""
        if self.find_hung_layer is None or self._asker == threading.get_ident():
            return Hung()  # find_hung_layer itself waits, and its own deadline passed
        with self._asks:
            self._asker = threading.get_ident()
            try:
                return self.find_hung_layer()
            finally:
                self._asker = 0

    def lose(self, loss: Callable[[], MachineLost]) -> bool:
        """End every wait, present and future; only the first call has an effect.

        Args:
            loss: makes the exception; called by each wait that the loss ends.
        Returns: True if this call was the first.
        """
        with self._lock:
            if self._loss is not None:
                return False
            self._loss = loss
            listeners = list(self._listeners.values())
            if self._alarm is not None:
                os.eventfd_write(self._alarm, 1)
        for listener in listeners:
            listener()
        return True

    def _all(self) -> list[Watchdog]:
        """The watchdogs whose loss ends this one's waits, the outermost first: it explains the others."""
        found: list[Watchdog] = self.parent._all() if self.parent else []
        for other in self.beside:
            found += [one for one in other._all() if one not in found]
        return [*found, self]

    @property
    def lost(self) -> bool:
        """Whether this machine or guest is lost, or one whose loss ends its waits."""
        return any(one._loss is not None for one in self._all())

    def check(self) -> None:
        """Raise the exception of the loss, if there was one."""
        for one in self._all():
            if one._loss is not None:
                raise one._loss()

    def alarms(self) -> list[int]:
        """Descriptors that become readable at a loss; a closed watchdog has none of its own."""
        return [one._alarm for one in self._all() if one._alarm is not None]

    def poll(self, descriptor: int | None, seconds: float) -> bool:
        """Wait until `descriptor`, if given, is readable or a loss happens, for at most `seconds`.

        Returns: whether the descriptor is readable.
        """
        poller = select.poll()
        for one in (*(() if descriptor is None else (descriptor,)), *self.alarms()):
            poller.register(one, select.POLLIN)
        ready = poller.poll(min(max(0.0, seconds), 3600.0) * 1000)
        return any(one == descriptor for one, _ in ready)

    def pause(self, seconds: float) -> None:
        """Wait for so long, unless a loss comes first.

        Args:
            seconds: of real time, not scaled: how long something is to go on is no deadline.
        Raises: MachineLost: at once, if the loss happened before.
        """
        end = self.clock() + seconds
        while True:
            self.check()
            left = end - self.clock()
            if left <= 0:
                return
            self.poll(None, left)

    @contextmanager
    def on_loss(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener` if a loss happens within the block or has happened before it."""
        watchdogs = self._all()
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
        """Close the descriptor; no wait may be running. A loss is still reported by `check` and `lost`."""
        with self._lock:
            alarm, self._alarm = self._alarm, None
        if alarm is not None:
            os.close(alarm)


@contextmanager
def watching(first: Watchdog, *others: Watched) -> Iterator[Watchdog]:
    """A watchdog whose waits end when `first` or one of `others` is lost; for the block only.

    A guest's loss does not end the waits on dom0, which has to clean up after it. Where dom0 works for
    minutes on something that is in vain without that guest, it ends them by this.
    """
    together = Watchdog(parent=first, beside=[one.watchdog for one in others], clock=first.clock)
    together.find_hung_layer = first.hung
    try:
        yield together
    finally:
        together.close()


def time_scale_of(seconds: float, *, reference: float) -> float:
    """How many times slower than the reference host this one was at something.

    Never below 1: a fast host may be busy later, and a deadline that is too
    long costs time only if something hangs.

    Args:
        seconds: how long it took here.
        reference: how long it takes on the host whose measurements are in docs (2 cores, TCG).
    """
    return max(1.0, seconds / reference)


def wait(
    answer: Callable[[float], T | None],
    *,
    watchdog: Watchdog,
    what: str,
    total: float,
    silence: float | None = None,
    last_output: Callable[[], float] | None = None,
    hint: str = "",
) -> T:
    """Wait for `answer`, a loss, or a deadline, whichever comes first.

    Args:
        answer: called with the seconds for which it may block; returns None
            if there is no answer yet. It must return early on a loss.
        watchdog: reports a loss; its time_scale scales both deadlines.
        what: what is awaited, for the message ("dom0's first SSH answer").
        total: seconds at reference speed.
        silence: seconds at reference speed without any output; None for no
            such deadline.
        last_output: returns the time of the last output, on the watchdog's clock.
        hint: the user's next step, for the message of a missed deadline.
    Returns: the answer.
    Raises: MachineDied, MachineCrashed, GuestEnded: the machine or guest was lost.
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
            last = max(start, last_output() if last_output else start)
            quiet_left = last + silence * scale - now
            if quiet_left <= 0:
                raise _blamed(Silence(_late("no output", what, silence, scale), hint=hint), watchdog)
            left = min(left, quiet_left)
        got = answer(left)
        if got is not None:
            return got


def no_answer(what: str, *, watchdog: Watchdog, total: float, hint: str = "") -> TimedOut:
    """The exception for a passed deadline, for waits not made with ``wait``; its layer is the one that hangs.

    Args:
        what, watchdog, total, hint: as in ``wait``.
    """
    return _blamed(TimedOut(_late("no answer", what, total, watchdog.time_scale), hint=hint), watchdog)


def _blamed(error: TimedOut, watchdog: Watchdog) -> TimedOut:
    hung = watchdog.hung()
    error.layer = hung.layer
    if hung.why:
        error.message += f"; {hung.why}"
        error.args = (error.message,)
    return error


def scaled(seconds: float, scale: float) -> str:
    """A deadline for a message: as it was on this host, and at reference speed."""
    took = f"{seconds * scale:.0f} s"
    if abs(scale - 1) > 0.05:
        took += f" ({seconds:g} s at reference speed, times {scale:.1f} on this host)"
    return took


def _late(missing: str, what: str, seconds: float, scale: float) -> str:
    return f"{missing} for {scaled(seconds, scale)} while waiting for {what}"
