# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cells to run: from the command line to pytest's arguments.

A cell is one thing that is run and judged. Its id names what it was run on
and with, in one word that can be pasted after ``evh run --cell``.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.errors import UserError

MOST_SEEDS = 100_000


def parse_seeds(text: str) -> tuple[int, ...]:
    """``7``, ``1-100`` or ``3,5-9``; empty for an empty text.

    Raises:
        UserError: it is none of these, or too many.
    """
    seeds: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"{text!r} is no list of seeds", hint="Write 7, 1-100 or 3,5-9.")
        if (int(last) if dash else int(first)) - int(first) >= MOST_SEEDS:
            raise UserError(f"{text}: more than {MOST_SEEDS:,} seeds", hint="Take them in several runs.")
        seeds += range(int(first), (int(last) if dash else int(first)) + 1)
    return tuple(dict.fromkeys(seeds))


def show_seeds(seeds: Sequence[int]) -> str:
    """What ``parse_seeds`` reads: neighbours as a range."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)

