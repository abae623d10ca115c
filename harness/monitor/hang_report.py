# SPDX-License-Identifier: GPL-2.0-or-later
"""The hang report: the state of a machine in which something hangs, saved before it is disturbed.

The order matters. Read-only commands come first and xenstore comes last: a
request to xenstore may wake a process that missed an event, and so destroy the evidence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.core.layout import tool_command

# Xen's debug keys: event channels of every domain, then the domains and their vCPUs, then the run queues.
GUEST_KEYS = "eqr"
# The same, then the registers of dom0's vCPUs and of all CPUs.
DOM0_KEYS = "eqr0d"
MOST = 3  # reports per machine: only the first ones are informative

_LOOKS = (
    ("interrupts of dom0", "cat /proc/interrupts"),
    ("event channels, by dom0's kernel", "cat /sys/kernel/debug/xen/events"),
    ("processes of dom0, and what they wait in", "ps -eo pid,stat,psr,wchan:32,args"),
    ("dom0's last words", "dmesg | tail -n 40"),
    ("memory of dom0", "cat /proc/meminfo | head -n 5"),
)
_LAST_LOOKS = (("domains", "xl list"), ("xenstore", "xenstore-ls -fp"))


def write(
    folder: Path,
    layer: str,
    *,
    ask_dom0: Callable[[str], str] | None,
    ask_xen: Callable[[str], str],
    say: Callable[[str], None],
    domids: Iterable[int] = (),
) -> None:
    """Write a hang report from the output of Xen and, unless it hangs, of dom0.

    Args:
        folder: the machine's folder; gets ``hang-<n>-<layer>.txt``.
        layer: the layer that hangs.
        ask_dom0: runs a shell command in dom0 and returns its output, or why there is none; None if
            dom0 hangs.
        ask_xen: types debug keys at Xen and returns what Xen prints.
        say: prints one line for the user.
        domids: domains, besides dom0, whose open ports are listed.

    Raises: OSError: the file cannot be written.
    """
    path = _file(folder, layer)
    if path is None:
        return
    say(f"{layer} hangs; the state of the machine is in {path}")
    with path.open("w") as file:

        def section(title: str, text: str) -> None:
            file.write(f"== {title}\n{text.rstrip()}\n\n")
            file.flush()

        section("hanging layer", layer)
        if ask_dom0:
            ports = [
                (f"open ports of domain {domid}, by Xen", tool_command("evtchn-status", f"--domid={domid}"))
                for domid in (0, *domids)
                if domid >= 0
            ]
            for title, command in (*_LOOKS, *ports):
                section(title, ask_dom0(command))
        section("Xen's debug keys", ask_xen(GUEST_KEYS if ask_dom0 else DOM0_KEYS))
        for title, command in _LAST_LOOKS if ask_dom0 else ():
            section(title, ask_dom0(command))  # type: ignore[misc]


def _file(folder: Path, layer: str) -> Path | None:
    """A new file, or None if there are `MOST` already; several threads may get here at once."""
    for number in range(1, MOST + 1):
        path = folder / f"hang-{number}-{layer.replace(':', '-')}.txt"
        if not any(folder.glob(f"hang-{number}-*")):
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
    return None
