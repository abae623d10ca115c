# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for people: durations, seeds, console output made printable, the end of a console file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# ECMA-48: control sequences, control strings (a window's title, for example), and other escapes.
ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``7.3 s``, ``4 min 12 s``.

    The unit is chosen after rounding, so 59.96 gives ``1 min 00 s`` and never ``60.0 s``.
    """
    if round(seconds, 2) < 1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def show_seeds(seeds: Sequence[int]) -> str:
    """Seeds as ``harness.plan.seeds.parse_seeds`` reads them, neighbours as a range: ``3,5-9``."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def printable(text: str) -> str:
    """``text`` without terminal escapes; other control characters become U+FFFD.

    A guest may print both. A terminal would obey them, and a web page can show neither.
    """
    plain = ESCAPES.sub("", text).replace("\r", "")
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """``value``, as decoded from JSON, with each text in it replaced by what ``change`` makes of it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {each_text(name, change): each_text(one, change) for name, one in value.items()}
    return [each_text(one, change) for one in value] if isinstance(value, list) else value


def tail(path: Path, *, lines: int, most: int = 64 << 10) -> str:
    """Last lines of a console file, which may be large and may hold any bytes.

    Args:
        most: bytes read from the end of the file.
    """
    with path.open("rb") as f:
        f.seek(0, 2)
        f.seek(max(0, f.tell() - most))
        text = f.read().decode(errors="replace")
    return "\n".join(line.rstrip("\r") for line in text.split("\n")[-lines - 1 :]).strip("\n")
