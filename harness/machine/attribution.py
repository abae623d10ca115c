# SPDX-License-Identifier: GPL-2.0-or-later
"""Hang attribution: find the layer that hangs by probing the layers below it, and write a hang report.

A guest may be silent because dom0 hangs, which carries its console and its
network; and dom0 because Xen hangs. So each layer below gets a small request.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any, Protocol

from harness.core.errors import EvhError
from harness.machine.ssh import SSH
from harness.monitor import hang_report
from harness.monitor.consoles import Consoles
from harness.monitor.waits import Hung, TimedOut, Watchdog

# Seconds at reference speed.
DOM0_SECONDS = 15
XEN_SECONDS = 10
LOOK_SECONDS = 20.0  # for each command of the hang report


class Asked(Protocol):
    """The part of a machine that is used here."""

    run_dir: Path
    watchdog: Watchdog
    guests: dict[str, Any]
    progress: Any

    @property
    def dom0(self) -> SSH:
        """SSH into dom0."""

    @property
    def consoles(self) -> Consoles:
        """Every console of the machine."""

    def xen_keys(self, keys: str) -> None:
        """Type debug keys at Xen's console."""


def hung_guest(machine: Asked, layer: str) -> Hung:
    """The layer that hangs when a guest is silent: the guest, if dom0 and its daemons are well.

    Args:
        layer: the guest's layer.
    Returns: the layer; empty if the machine was lost meanwhile.
    """
    try:
        gone = _daemons_gone(machine)
    except TimedOut as error:
        return Hung(layer=error.layer or "dom0")
    except EvhError:
        return Hung()  # the machine was lost, and the exception of that loss gives the reason
    domids = [guest.domid for guest in machine.guests.values()]
    hang_report.write(
        machine.run_dir, layer, domids=domids, say=machine.progress.say,
        ask_dom0=lambda command: _ask_dom0(machine, command),
        ask_xen=lambda keys: _ask_xen(machine, keys),
    )  # fmt: skip
    return Hung(layer="dom0", why=gone) if gone else Hung(layer=layer)


def hung_dom0(machine: Asked) -> Hung:
    """The layer that hangs when dom0 is silent: dom0, if Xen answers the debug key for help.

    Returns: the layer; empty if the machine was lost meanwhile.
    """
    since = machine.consoles.next_number
    try:
        machine.xen_keys("h")
        machine.consoles.wait_line(
            r"\(XEN\)",
            since=since,
            watchdog=machine.watchdog,
            what="Xen's answer to a debug key",
            total=XEN_SECONDS,
        )
    except TimedOut:
        return Hung(layer="xen")
    except EvhError:
        return Hung()
    hang_report.write(
        machine.run_dir, "dom0", say=machine.progress.say,
        ask_dom0=None, ask_xen=lambda keys: _ask_xen(machine, keys),
    )  # fmt: skip
    try:
        why = _daemons_gone(machine) or "dom0 answers another command"
    except EvhError:
        why = ""
    return Hung(layer="dom0", why=why)


# Started by images/dom0/init.
_DAEMONS = "for d in xenstored xenconsoled; do kill -0 $(cat /run/$d.pid) 2>/dev/null || echo $d; done"


def _daemons_gone(machine: Asked) -> str:
    """The daemons of the toolstack that do not run in dom0 any more, in words; empty if all run.

    Raises: TimedOut: dom0 does not answer. MachineLost; InfraError: the connection broke.
    """
    gone = machine.dom0.run(_DAEMONS, timeout=DOM0_SECONDS).out.split()
    return f"{' and '.join(gone)} of dom0 ended" if gone else ""


def _ask_dom0(machine: Asked, command: str) -> str:
    """The output of a command in dom0, or the error message if it fails."""
    try:
        # `timeout` ends the command in dom0 itself, so that it does not stay behind.
        seconds = LOOK_SECONDS * machine.watchdog.time_scale
        done = machine.dom0.run(
            f"timeout {seconds:.0f} sh -c {shlex.quote(command)}", timeout=LOOK_SECONDS + 5, check=False
        )
    except EvhError as error:
        return f"not available: {error}"
    return done.out + (f"({command}: status {done.rc} {done.err.strip()})" if done.rc else "")


def _ask_xen(machine: Asked, keys: str) -> str:
    """What Xen prints for debug keys, pressed one after the other."""
    since = machine.consoles.next_number
    for key in keys:
        with contextlib.suppress(EvhError):
            machine.xen_keys(key)
            # Long answers are slow on an emulated serial line.
            time_scale = machine.watchdog.time_scale
            machine.consoles.settle(quiet=1.0 * time_scale, most=20.0 * time_scale)
    printed = machine.consoles.lines(layer="xen", since=since)
    return "\n".join(line.text for line in printed) or "no answer"
