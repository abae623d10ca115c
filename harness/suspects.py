# SPDX-License-Identifier: GPL-2.0-or-later
"""Who hangs: what does not answer, asked from the outside in.

A guest that is silent may be so because dom0 is, which carries its console and
its network; and dom0 because Xen is. So each is asked something small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import witness
from harness.errors import EvhError
from harness.waits import TimedOut

if TYPE_CHECKING:
    from harness.machine import Machine

# Seconds at reference speed.
DOM0_SECONDS = 15
XEN_SECONDS = 10


def hung_guest(machine: Machine, layer: str) -> str:
    """The layer to blame for a guest's silence: its own, if dom0 answers.

    What it looked like is written down then (witness.py).

    Args:
        layer: the guest's.
    """
    try:
        machine.dom0.run("true", timeout=DOM0_SECONDS)
    except TimedOut as error:
        return error.layer or "dom0"
    except EvhError:
        return ""  # it is lost, and says so itself
    domids = [guest.domid for guest in machine.guests.values()]
    witness.write(machine, layer, domids=domids, dom0_answers=True)
    return layer


def hung_dom0(machine: Machine) -> str:
    """The layer to blame for dom0's silence: its own, if Xen answers its debug key for help."""
    since = machine.consoles.next_number
    try:
        machine.xen_keys("h")
        machine.consoles.wait_line(
            r"\(XEN\)",
            since=since,
            vigil=machine.vigil,
            what="Xen's answer to a debug key",
            total=XEN_SECONDS,
        )
    except TimedOut:
        return "xen"
    except EvhError:
        return ""
    witness.write(machine, "dom0", dom0_answers=False)
    return "dom0"
