# SPDX-License-Identifier: GPL-2.0-or-later
"""Leak check: the wait for memory to be freed, and what it gives back; the tests set the clock."""

from __future__ import annotations

import json

from fakes import FREE, START, FakeSSH, FakeStream

from harness.guest.leaks import Leaks, Memory


def free(*, pages: int = 1000, dom0: int = 8000) -> FakeStream:
    """A run of the tool xen-free."""
    return FakeStream([START, json.dumps(json.loads(FREE) | {"free_pages": pages, "mem_free_kib": dom0})])


class Dom0(FakeSSH):
    """``run`` needs no stream here: only the tool's output is read."""

    def run(self, cmd: str, **_: object) -> None:
        self.commands.append(cmd)


class Clock:
    """The time of dom0's watchdog, which passes only in pauses."""

    def __init__(self, dom0: Dom0) -> None:
        self.now = 0.0
        dom0.watchdog.clock, dom0.watchdog.pause = lambda: self.now, self.pause

    def pause(self, seconds: float) -> None:
        self.now += seconds


def measured(*later: FakeStream, time_scale: float = 1.0) -> tuple[Leaks, Clock]:
    dom0 = Dom0(free(), *later, time_scale=time_scale)
    return Leaks(dom0), Clock(dom0)  # type: ignore[arg-type]


def test_caches_are_dropped_before_memory_is_measured() -> None:
    dom0 = Dom0(free())
    assert Leaks(dom0).before == Memory(xen=4000, dom0=8000)  # type: ignore[arg-type]
    assert "drop_caches" in dom0.commands[0] and "xen-free" in dom0.commands[1]


def test_wait_ends_two_seconds_after_the_last_memory_was_freed() -> None:
    check, clock = measured(*(free(pages=pages) for pages in (500, 700, 990, 1000, 1000, 1000, 1000)))
    assert check.leaked(xen_kib=40, dom0_kib=0) == Memory(xen=0, dom0=0)
    assert clock.now == 3.0


def test_what_stays_away_is_told_after_half_a_minute_of_a_slow_machine() -> None:
    check, clock = measured(*(free(pages=900, dom0=7000) for _ in range(200)), time_scale=2.0)
    assert check.leaked(xen_kib=100, dom0_kib=2000) == Memory(xen=400, dom0=1000)
    assert 60 < clock.now <= 61
