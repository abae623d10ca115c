# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Linux of ours says of its event channels: debugfs' ``xen/events``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import InfraError
from harness.core.records import Abi

if TYPE_CHECKING:
    from harness.machine.ssh import SSH

PATH = "/sys/kernel/debug/xen/events"
_NAMES = {"2-level": Abi.L2, "FIFO-based": Abi.FIFO, "3-level": Abi.L3}
_ON_CPU = re.compile(r"bound to CPU (\d+)$")


@dataclass(frozen=True, kw_only=True)
class EventsView:
    """The file's content.

    Attributes:
        abi: in use.
        limit: ports there can ever be; usable: that there can be now.
        bound: ports that have an IRQ; per_cpu: the same for each CPU on line.
        to_free: IRQs of closed ports that are yet to be freed.
        shared_pages: of pending and mask bits (3l alone, else None).
        bitmap_pages: of each CPU's own bitmap (3l alone, else None).
    """

    abi: Abi
    limit: int
    usable: int
    bound: int
    per_cpu: Mapping[int, int]
    to_free: int
    shared_pages: int | None = None
    bitmap_pages: int | None = None


def parse(text: str, *, where: str) -> EventsView:
    """Read the file's lines.

    Args:
        where: whose it is, for messages.

    Raises:
        InfraError: a line is missing, or is none of ours.
    """
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def number(name: str) -> int:
        return int(lines[name])

    try:
        shared = number("pages of pending and mask bits") if lines["ABI"] == "3-level" else None
        return EventsView(
            abi=_NAMES[lines["ABI"]],
            limit=number("limit"),
            usable=number("usable"),
            bound=number("bound"),
            per_cpu={int(on[1]): int(value) for name, value in lines.items() if (on := _ON_CPU.match(name))},
            to_free=number("IRQs to be freed"),
            shared_pages=shared,
            bitmap_pages=None if shared is None else number("pages of a CPU's bitmap"),
        )
    except (KeyError, ValueError) as error:
        raise InfraError(
            f"{where}: {PATH} is not as expected: {error}",
            hint="The kernel's series and harness/eventsview.py have to agree.",
        ) from error


def read(ssh: SSH) -> EventsView:
    """What a kernel says right now.

    Raises:
        InfraError: it says something else. CommandFailed: it has no such file. MachineLost.
    """
    return parse(ssh.run(f"cat {PATH}", timeout=30).out, where=ssh.name)
