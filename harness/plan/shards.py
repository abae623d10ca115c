# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts a list of cells into shards that take about as long as each other.

All arithmetic is on whole milliseconds and every tie is decided by position, so that equal input gives
equal shards on every host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import UserError
from harness.plan.estimates import Estimate

MOST_SHARDS = 1000
# The slowest shard may take so much of the mean, by the estimates, unless a single cell takes longer.
SLOWEST = 1.15
BALANCED = 1.05
# The largest pieces into which the cells of one boot are cut, in shares of the mean; the coarsest that
# balances is used, since each piece boots anew.
PIECES = (None, 1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``number`` of ``count``, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Parse ``2/3``.

    Raises:
        UserError: ``text`` has another form, or the number is not within the count.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
        raise UserError(
            f"--shard {text}: not a shard",
            hint=f"Write I/N, for example 2/3: the second of three (at most {MOST_SHARDS:,}).",
        )
    return Shard(number=int(match[1]), count=int(match[2]))


def milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def weight(estimates: Sequence[Estimate]) -> int:
    """Milliseconds that one run needs for these cells: their own time, and each boot once."""
    boots: dict[str, int] = {}
    for one in estimates:
        if one.boot:
            boots[one.boot] = max(boots.get(one.boot, 0), milliseconds(one.boot_seconds))
    return sum(milliseconds(one.seconds) for one in estimates) + sum(boots.values())


def cut(estimates: Sequence[Estimate], count: int) -> tuple[int, ...]:
    """Distribute cells over shards.

    Args:
        estimates: one for each cell, in the order of the run.
        count: number of shards.

    Returns:
        For each cell the number of its shard, from 1. Some shards are empty if there are fewer cells.
    """
    best: tuple[int, tuple[int, ...]] | None = None
    mean = max(1, weight(estimates) // count)
    for parts in PIECES:
        chosen = _distribute(estimates, count, limit=mean // parts if parts else None)
        slowest = max(loads(estimates, chosen, count))
        if best is None or slowest < best[0]:
            best = (slowest, chosen)
        if best[0] <= mean * BALANCED:  # finer pieces would only boot more often
            break
    assert best is not None
    return best[1]


def loads(estimates: Sequence[Estimate], chosen: Sequence[int], count: int) -> list[int]:
    """Milliseconds of each shard."""
    return [
        weight([one for one, shard in zip(estimates, chosen, strict=True) if shard == number])
        for number in range(1, count + 1)
    ]


def _distribute(estimates: Sequence[Estimate], count: int, *, limit: int | None) -> tuple[int, ...]:
    """Give the largest piece to the least loaded shard, until all are given.

    Args:
        limit: milliseconds that the cells of one piece may take, beside their boot; None: do not cut.
    """
    pieces = _pieces(estimates, limit)
    weights = [weight([estimates[at] for at in piece]) for piece in pieces]
    order = sorted(range(len(pieces)), key=lambda at: (-weights[at], pieces[at][0]))
    load = [0] * count
    booted: list[dict[str, int]] = [{} for _ in range(count)]
    chosen = [0] * len(estimates)
    for at in order:
        boot = estimates[pieces[at][0]].boot
        # A shard that has the boot already saves its time.
        after = [load[shard] - booted[shard].get(boot, 0) for shard in range(count)]
        number = after.index(min(after))
        saved = booted[number].get(boot, 0)
        load[number] += weights[at] - saved
        if boot:
            once = max(milliseconds(estimates[cell].boot_seconds) for cell in pieces[at])
            booted[number][boot] = max(saved, once)
        for cell in pieces[at]:
            chosen[cell] = number + 1
    return tuple(chosen)


def _pieces(estimates: Sequence[Estimate], limit: int | None) -> list[list[int]]:
    """Positions of the cells that stay together: those of one boot, in pieces of at most ``limit``."""
    pieces: list[list[int]] = []
    current: dict[str, list[int]] = {}
    filled: dict[str, int] = {}
    for at, one in enumerate(estimates):
        own = milliseconds(one.seconds)
        piece = current.get(one.boot) if one.boot else None
        if piece is None or (limit is not None and filled[one.boot] + own > limit):
            piece = []
            pieces.append(piece)
            current[one.boot], filled[one.boot] = piece, 0
        piece.append(at)
        filled[one.boot] += own
    return pieces
