# SPDX-License-Identifier: GPL-2.0-or-later
"""Prove that consoles are still recorded: a line that a kernel is told to print must arrive.

A console can fall silent while its machine goes on: a serial driver that gives up,
a daemon that has died, a full disk. A crash would then go unseen, and the cell
would pass. So each test on a machine ends with such a proof.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.machine.ssh import SSH
from harness.monitor.consoles import Consoles
from harness.monitor.waits import ConsoleLost, TimedOut

# Seconds at reference speed, for all consoles together. A guest's takes one, through xenconsoled's file.
DEADLINE = 30.0


def prove(consoles: Consoles, shells: Mapping[str, SSH]) -> None:
    """Make each kernel print a line, and wait until all have arrived on their consoles.

    The line has the level of WARN() (KERN_WARNING), so that this also fails if the kernel
    keeps warnings to itself. dom0's line passes Xen's serial driver, so it proves Xen's console, too.

    Args:
        shells: by layer.

    Raises:
        ConsoleLost: a line did not arrive. MachineLost; CommandFailed: a kernel has no /dev/kmsg.
    """
    since = consoles.next_number
    for layer, ssh in shells.items():
        ssh.run(f"echo '<4>{_line(layer, since)}' > /dev/kmsg", timeout=DEADLINE)
    for layer, ssh in shells.items():
        try:
            consoles.wait_line(
                re.escape(_line(layer, since)),
                layer=layer,
                since=since,
                watchdog=ssh.watchdog,
                what=f"a line that {layer} was told to print",
                total=DEADLINE,
            )
        except TimedOut as error:
            why = f"a line that its kernel was told to print did not arrive ({error.message})"
            raise ConsoleLost(layer, why) from error


def _line(layer: str, number: int) -> str:
    return f"evh: console of {layer} at line {number}"
