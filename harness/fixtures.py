# SPDX-License-Identifier: GPL-2.0-or-later
"""More fixtures of the plugin: ``load``, ``figure``, ``storm_seconds``, ``leaks``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.guests import Guest
    from harness.load import Load
    from harness.ssh import SSH

PAGE_KIB = 4
# Both are given back late: Xen's by a tasklet and RCU, Linux's by a work queue and RCU.
SETTLE_SECONDS = 30.0
NOISE_KIB = 64  # what a page here and there comes and goes
STORM_SECONDS = 8.0


@pytest.fixture
def load() -> Iterator[Callable[..., Load]]:
    """Events that keep flying: ``load(a, b, ports=, seed=, late=)`` between two domains (a guest, or
    ``dom0``), ``load(a, ports=)`` inside one. See ``load.Load``; closed after the test."""
    from harness.load import Load

    with ExitStack() as stack:

        def start(ping: Guest | SSH, echo: Guest | SSH | None = None, **words: Any) -> Load:
            return stack.enter_context(
                Load(
                    _ssh(ping),
                    None if echo is None else _ssh(echo),
                    ping_domid=getattr(ping, "domid", 0),
                    echo_domid=getattr(echo, "domid", 0),
                    **words,
                )
            )

        yield start


def _ssh(where: Guest | SSH) -> SSH:
    return where.ssh if hasattr(where, "ssh") else where


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Put a number into the report: ``figure("p99 us", 12)``."""
    from harness.plugin import running_of

    figures = running_of(request).result.figures

    def note(name: str, value: float) -> None:
        figures[name] = round(value)

    return note


@pytest.fixture
def storm_seconds(request: pytest.FixtureRequest) -> float:
    """How long a storm lasts: `--minutes`, or some seconds."""
    from harness.plugin import SESSION

    session = request.config.stash.get(SESSION, None)
    return (session.selection.minutes * 60 if session else 0) or STORM_SECONDS


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Free memory, in KiB, of Xen and of dom0's Linux."""

    xen: int
    dom0: int


class Leaks:
    """Compares free memory with what it was at a moment before."""

    def __init__(self, dom0: SSH) -> None:
        self._dom0 = dom0
        self.before = self.now()

    def now(self) -> Memory:
        """Free memory now. dom0's caches don't count: they are dropped."""
        from harness.exercise import run_tool

        self._dom0.run("sync; echo 3 > /proc/sys/vm/drop_caches", timeout=60)
        got = run_tool(self._dom0, "xen-free", timeout=60).result
        return Memory(xen=got.free_pages * PAGE_KIB, dom0=got.mem_free_kib)

    def leaked(self, *, xen_kib: int, dom0_kib: int) -> Memory:
        """What is still taken once no more than the given is, and for two seconds nothing more came back."""
        end = time.monotonic() + SETTLE_SECONDS * self._dom0.vigil.slowness
        least, still = None, 0
        while True:
            now = self.now()
            lost = Memory(xen=self.before.xen - now.xen, dom0=self.before.dom0 - now.dom0)
            taken = lost.xen + lost.dom0
            still = 0 if least is None or taken < least - NOISE_KIB else still + 1
            least = taken if least is None else min(taken, least)
            enough = lost.xen <= xen_kib and lost.dom0 <= dom0_kib and still >= 4
            if enough or time.monotonic() > end:
                return lost
            time.sleep(0.5)


@pytest.fixture
def leaks(dom0: SSH) -> Callable[[], Leaks]:
    """``since = leaks()`` notes free memory; ``since.leaked(xen_kib=, dom0_kib=)`` what is gone for good."""
    return lambda: Leaks(dom0)
