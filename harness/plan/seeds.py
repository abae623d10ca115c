# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of seeds, as written on the command line."""

from __future__ import annotations

from harness.core.errors import UserError

MOST_SEEDS = 100_000


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse ``7``, ``1-100`` or ``3,5-9``; an empty text gives no seeds.

    Raises:
        UserError: ``text`` has another form, or a range is longer than ``MOST_SEEDS``.
    """
    seeds: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"{text!r} is not a list of seeds", hint="Write 7, 1-100 or 3,5-9.")
        if (int(last) if dash else int(first)) - int(first) >= MOST_SEEDS:
            raise UserError(f"{text}: more than {MOST_SEEDS:,} seeds", hint="Split them over several runs.")
        seeds += range(int(first), (int(last) if dash else int(first)) + 1)
    return tuple(dict.fromkeys(seeds))
