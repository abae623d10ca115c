# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine looked like when something in it hung: written down before anybody touches it.

The order matters. What only looks comes first; xenstore comes last, as a
request to it wakes who may have slept through an event, and takes the trace away.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import EvhError
from harness.exercise import command as tool_command

if TYPE_CHECKING:
    from harness.machine import Machine

# Event channels of every domain, then the domains and their vCPUs, then the run queues.
GUEST_KEYS = "eqr"
# The same, and where dom0's vCPUs and all CPUs are.
DOM0_KEYS = "eqr0d"
SECONDS = 20.0  # each look into dom0, at reference speed
MOST = 3  # of one machine: it is the first that tells something

_LOOKS = (
    ("interrupts of dom0", "cat /proc/interrupts"),
    ("event channels, by dom0's kernel", "cat /sys/kernel/debug/xen/events"),
    ("processes of dom0, and what they wait in", "ps -eo pid,stat,psr,wchan:32,args"),
    ("dom0's last words", "dmesg | tail -n 40"),
    ("memory of dom0", "cat /proc/meminfo | head -n 5"),
)
_LAST_LOOKS = (("domains", "xl list"), ("xenstore", "xenstore-ls -fp"))


def write(machine: Machine, layer: str, *, domids: Iterable[int] = (), dom0_answers: bool) -> None:
    """Look at dom0, unless that hangs, and at Xen, and write what is seen.

    Args:
        layer: who hangs; names the file, ``hang-<n>-<layer>.txt`` beside the consoles.
        domids: domains whose open ports are asked for, beside dom0's.

    What cannot be had is said in the file.
    Raises: OSError: the file cannot be written.
    """
    path = _file(machine.run_dir, layer)
    if path is None:
        return
    machine.progress.say(f"{layer} hangs; what the machine looks like now: {path}")
    with path.open("w") as file:

        def part(title: str, text: str) -> None:
            file.write(f"== {title}\n{text.rstrip()}\n\n")
            file.flush()

        part("who hangs", layer)
        if dom0_answers:
            status = [
                (f"open ports of domain {domid}, by Xen", tool_command("evtchn-status", f"--domid={domid}"))
                for domid in (0, *domids)
                if domid >= 0
            ]
            for title, command in (*_LOOKS, *status):
                part(title, _ask(machine, command))
        part("Xen's debug keys", _keys(machine, DOM0_KEYS if not dom0_answers else GUEST_KEYS))
        for title, command in _LAST_LOOKS if dom0_answers else ():
            part(title, _ask(machine, command))


def _file(folder: Path, layer: str) -> Path | None:
    """A new file, None if there are enough; waits of several threads may run out at once."""
    for number in range(1, MOST + 1):
        path = folder / f"hang-{number}-{layer.replace(':', '-')}.txt"
        if not any(folder.glob(f"hang-{number}-*")):
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
    return None


def _ask(machine: Machine, command: str) -> str:
    """What a command in dom0 says; of a failure, its words."""
    try:
        # Its own deadline as well: one that sleeps for ever must not outlive us.
        done = machine.dom0.run(
            f"timeout {SECONDS:.0f} sh -c {shlex.quote(command)}", timeout=SECONDS + 5, check=False
        )
    except EvhError as error:
        return f"cannot be had: {error}"
    return done.out + (f"({command}: status {done.rc} {done.err.strip()})" if done.rc else "")


def _keys(machine: Machine, keys: str) -> str:
    """What Xen says to debug keys, one after the other."""
    since = machine.consoles.next_number
    for key in keys:
        with contextlib.suppress(EvhError):
            machine.xen_keys(key)
            # The longest of them are read over a serial line that is emulated, too.
            machine.consoles.settle(quiet=1.0 * machine.vigil.slowness, most=20.0)
    said = machine.consoles.lines(layer="xen", since=since)
    return "\n".join(line.text for line in said) or "no answer"
