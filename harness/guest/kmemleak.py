# SPDX-License-Identifier: GPL-2.0-or-later
"""What kmemleak has found, in the flavour ``linux-debug``: it looks, and tells, when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.monitor.waits import Crash, MachineCrashed
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.guest.guest import Guest
    from harness.machine.ssh import SSH

FILE = "/sys/kernel/debug/kmemleak"
# Seconds: what is younger is not called a leak yet (MSECS_MIN_AGE in mm/kmemleak.c).
MIN_AGE = 5.5
# An object is told when a second scan has found it unreferenced, and unchanged, as well.
ASK = f"sleep {MIN_AGE}; echo scan > {FILE} && echo scan > {FILE} && cat {FILE}"
TIMEOUT = 240.0
MOST_LINES = 60


def asked(guest: Guest) -> bool:
    """Whether a guest's kernel is one that can be asked: ours, of this flavour, and alive."""
    ours = not guest.spec.kernel and not KINDS[guest.spec.kind].component
    return ours and not guest.watchdog.lost and guest.machine.guests.get(guest.spec.name) is guest


def ask(ssh: SSH) -> None:
    """Have a kernel of the flavour look for leaked memory.

    Raises:
        MachineCrashed: there is some; the verdict is a ``crash`` of that kernel, as for its other complaints.
        CommandFailed: kmemleak is not there, or has given up (its words are on the console).
        MachineLost.
    """
    if leaks := ssh.run(ASK, timeout=TIMEOUT).out.strip():
        lines = leaks.splitlines()
        raise MachineCrashed(
            f"{ssh.name} leaks memory: {lines[0].strip()}",
            crash=Crash(layer=ssh.name, line=lines[0], seconds=0.0, excerpt="\n".join(lines[:MOST_LINES])),
            hint="\n".join(lines[:MOST_LINES]),
        )
