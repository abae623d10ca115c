# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognize the console lines that report a crash, and attribute each to a layer.

``crashtable.py`` lists the lines. Layers are ``xen``, ``dom0``, ``guest:<name>``,
``dom<number>`` (a domain whose guest is not known), ``qemu``, and ``bare``,
``xtf`` and ``linux`` for machines without a Linux dom0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.monitor.crashtable import DOM0_ENDED, LINUX, XEN, CrashLine

# Xen prints "(d3) " before a line that domain 3 writes to its emulated or early console
# (guest_printk() in drivers/char/console.c).
_PREFIX = re.compile(r"\((?:XEN|d(?P<domain>\d+))\) ")


@dataclass(frozen=True, kw_only=True)
class Recognized:
    """A crash line.

    Attributes:
        row: the kind of crash line.
        layer: the layer that crashed.
    """

    row: CrashLine
    layer: str


def recognize(layer: str, line: str, *, dom0_must_stay: bool = False) -> Recognized | None:
    """Find out whether a line reports a crash, and of which layer.

    Args:
        layer: the layer that printed the line.
        line: one line, without its line end.
        dom0_must_stay: whether it is a crash that dom0 shuts the machine down.
    Returns: None for an ordinary line.
    """
    if layer == "qemu":
        return None  # QEMU's exit is detected otherwise, and its log contains harmless warnings
    rows: tuple[CrashLine, ...] = LINUX
    if layer == "xen":
        rows = XEN + DOM0_ENDED if dom0_must_stay else XEN
    for row in rows:
        if found := row.pattern.search(line):
            domain = found.groupdict().get("domain")
            return Recognized(row=row, layer=f"dom{domain}" if domain else row.layer or layer)
    return None


def blame(layer: str, line: str) -> str | None:
    """The layer that crashed according to a line; None for an ordinary line.

    Args:
        layer, line: as for ``recognize``.
    """
    found = recognize(layer, line)
    return found.layer if found else None


def printer_of(line: str, *, otherwise: str) -> str:
    """The layer that printed a line of the serial port that Xen shares.

    Args:
        line: one whole line.
        otherwise: the layer of lines without a prefix of Xen's.
    """
    if not (prefix := _PREFIX.match(line)):
        return otherwise
    return f"dom{prefix['domain']}" if prefix["domain"] else "xen"


def pieces(line: str, *, other: str) -> list[tuple[str, str]]:
    """The parts of one line of a console that Xen shares with one other layer, with the layer of each.

    Xen may print in the middle of a line that the other has not ended (see serial.py). What it prints for
    a domain ("(d1) ...") belongs to the other layer, too.
    """
    marks = [mark for mark in _PREFIX.finditer(line) if not mark["domain"]]
    if not marks:
        return [(other, line)]
    at = marks[0].start()
    return [*([(other, line[:at])] if at else []), ("xen", line[at:])]


def is_xen(line: str) -> bool:
    """Whether a line of the shared serial console was printed by Xen."""
    return printer_of(line, otherwise="") == "xen"
