# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads ``xen/events`` in debugfs, where the patched Linux reports its event channels."""

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
    """The parsed file.

    Attributes:
        abi: the ABI in use.
        limit: the ABI's maximum number of ports; usable: how many can be used now.
        bound: number of ports with an IRQ; per_cpu: the same for each online CPU.
        to_free: number of IRQs of closed ports that are not freed yet.
        shared_pages: pages of pending and mask bits (3l only, else None).
        bitmap_pages: pages of each CPU's own bitmap (3l only, else None).
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
    """Parse the file's text.

    Args:
        where: the domain that the text comes from, for messages.

    Raises:
        InfraError: a line is missing or malformed.
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
            f"{where}: {PATH} has an unexpected format: {error}",
            hint="The kernel's patch series and harness/guest/debugfs.py must agree on the format.",
        ) from error


def read(ssh: SSH) -> EventsView:
    """Read and parse the file of a running kernel.

    Raises:
        InfraError: the file cannot be parsed. CommandFailed: the kernel has no such file. MachineLost.
    """
    return parse(ssh.run(f"cat {PATH}", timeout=30).out, where=ssh.name)
