# SPDX-License-Identifier: GPL-2.0-or-later
"""Leak check: compares free memory of Xen and dom0 with an earlier measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.machine.ssh import SSH

PAGE_KIB = 4
# Both free memory with a delay: Xen by a tasklet and RCU, Linux by a work queue and RCU.
SETTLE_SECONDS = 30.0
NOISE_KIB = 64  # ordinary fluctuation by single pages


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Free memory, in KiB, of Xen and of dom0's Linux."""

    xen: int
    dom0: int


class Leaks:
    """Measures free memory at creation; ``leaked`` compares with that."""

    def __init__(self, dom0: SSH) -> None:
        self._dom0 = dom0
        self.before = self.now()

    def now(self) -> Memory:
        """Measure free memory now, after dropping dom0's caches."""
        from harness.guest.tools import run_tool

        self._dom0.run("sync; echo 3 > /proc/sys/vm/drop_caches", timeout=60)
        got = run_tool(self._dom0, "xen-free", timeout=60).result
        return Memory(xen=got.free_pages * PAGE_KIB, dom0=got.mem_free_kib)

    def leaked(self, *, xen_kib: int, dom0_kib: int) -> Memory:
        """Wait for memory to be freed, and return how much is still missing.

        The wait ends when both values are within the given limits and no more memory has been freed for
        two seconds, or after SETTLE_SECONDS (scaled).

        Args:
            xen_kib, dom0_kib: accepted amounts.
        """
        watchdog = self._dom0.watchdog
        end = watchdog.clock() + SETTLE_SECONDS * watchdog.time_scale
        least, still = None, 0
        while True:
            now = self.now()
            lost = Memory(xen=self.before.xen - now.xen, dom0=self.before.dom0 - now.dom0)
            taken = lost.xen + lost.dom0
            still = 0 if least is None or taken < least - NOISE_KIB else still + 1
            least = taken if least is None else min(taken, least)
            enough = lost.xen <= xen_kib and lost.dom0 <= dom0_kib and still >= 4
            if enough or watchdog.clock() > end:
                return lost
            watchdog.pause(0.5)

