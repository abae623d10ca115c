# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine looked like when something in it hung: written down before anybody touches it.

The order matters. What only looks comes first; xenstore comes last, as a
request to it wakes who may have slept through an event, and takes the trace away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.core.layout import tool_command

# Event channels of every domain, then the domains and their vCPUs, then the run queues.
GUEST_KEYS = "eqr"
# The same, and where dom0's vCPUs and all CPUs are.
DOM0_KEYS = "eqr0d"
MOST = 3  # of one machine: it is the first that tells something

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
    """Collect what dom0, unless it hangs, and Xen say, and write it down.

    Args:
        folder: the machine's; gets ``hang-<n>-<layer>.txt``.
        layer: the layer that hangs.
        ask_dom0: runs a shell command in dom0 and gives its output, or why there is none; None where
            dom0 hangs.
        ask_xen: types debug keys at Xen and gives what it prints.
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
    """A new file, None if there are enough; waits of several threads may run out at once."""
    for number in range(1, MOST + 1):
        path = folder / f"hang-{number}-{layer.replace(':', '-')}.txt"
        if not any(folder.glob(f"hang-{number}-*")):
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
    return None
