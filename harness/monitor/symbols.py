# SPDX-License-Identifier: GPL-2.0-or-later
"""File and line for the addresses in Xen's own call traces.

Xen names functions itself, but not the inlined ones, and no lines. Linux is
built without debug information; kallsyms in its own traces has to do.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# arch/x86/traps.c:show_trace(): "[<ffff82d0402ff427>] R arch/x86/domain.c#default_idle+0xc7/0xe0". R is the
# instruction pointer itself; F and S come off the stack, and are where a call returns to.
_ENTRY = re.compile(r"\[<(ffff82[0-9a-f]{10})>\] ([RFS]) \S+")


def with_places(text: str, *, syms: Path) -> str:
    """Add source places to Xen's call traces in ``text``.

    Args:
        syms: ``xen-syms`` of the very build.

    Returns:
        The text, with ``  <- inlined.h:1 <- caller.c:2`` after each entry;
        unchanged where there is no addr2line or no such build.
    """
    wanted = {m[1]: _looked_up(m) for m in _ENTRY.finditer(text)}
    if not wanted or not syms.is_file():
        return text
    command = ["addr2line", "-e", str(syms), "-a", "-i", "-s", *wanted.values()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return text
    # With -a each answer begins with the address itself, then a line for each inlined function.
    answers = re.split(r"^0x[0-9a-f]+\n", done.stdout, flags=re.MULTILINE)[1:]
    places = dict(zip(wanted, answers, strict=False))

    def add(entry: re.Match[str]) -> str:
        lines = [line.split(" (")[0] for line in places.get(entry[1], "").splitlines() if "?" not in line]
        return " <- ".join([f"{entry[0]} ", *lines]) if lines else entry[0]

    return _ENTRY.sub(add, text)


def _looked_up(entry: re.Match[str]) -> str:
    """A return address belongs to the line after the call; one byte less is in the call."""
    address = int(entry[1], 16)
    return f"{address if entry[2] == 'R' else address - 1:x}"
