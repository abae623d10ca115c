# SPDX-License-Identifier: GPL-2.0-or-later
"""Leak checks by kmemleak, which kernels of the flavour ``linux-debug`` have; it scans only on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.monitor.waits import Crash, MachineCrashed
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.guest.guest import Guest
    from harness.machine.ssh import SSH

FILE = "/sys/kernel/debug/kmemleak"
# Seconds. kmemleak does not report younger objects (MSECS_MIN_AGE in mm/kmemleak.c).
MIN_AGE = 5.5
# Two scans: kmemleak reports an object only if the second one also finds it unreferenced and unchanged.
ASK = f"sleep {MIN_AGE}; echo scan > {FILE} && echo scan > {FILE} && cat {FILE}"
TIMEOUT = 240.0
MOST_LINES = 60


def asked(guest: Guest) -> bool:
    """Whether a guest can be checked: it runs the default patched kernel, answers, and is still alive."""
    default_kernel = not guest.spec.kernel and not KINDS[guest.spec.kind].component
    if not guest.spec.network:
        return False
    return default_kernel and not guest.watchdog.lost and guest.machine.guests.get(guest.spec.name) is guest


def ask(ssh: SSH) -> None:
    """Make a kernel of this flavour scan for leaked memory.

    Raises:
        MachineCrashed: it found a leak; the verdict is ``crash`` of that kernel, as for its other warnings.
        CommandFailed: the kernel has no kmemleak, or kmemleak disabled itself (the console says why).
        MachineLost.
    """
    if leaks := ssh.run(ASK, timeout=TIMEOUT).out.strip():
        lines = leaks.splitlines()
        raise MachineCrashed(
            f"{ssh.name} leaks memory: {lines[0].strip()}",
            crash=Crash(layer=ssh.name, line=lines[0], seconds=0.0, excerpt="\n".join(lines[:MOST_LINES])),
            hint="\n".join(lines[:MOST_LINES]),
        )
