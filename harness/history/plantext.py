# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as text."""

from __future__ import annotations

from typing import TextIO

from harness.core.text import duration, printable
from harness.plan.shards import SLOWEST, loads, weight
from harness.run.planning import Plan


def print_plan(plan: Plan, said: str, *, file: TextIO) -> None:
    """Print the cells, then what all of them, or each shard, are expected to need.

    Args:
        said: where the estimates come from.
    """
    mine = plan.mine
    cut = plan.of > 1 or plan.shard > 0
    print(("shard  " if cut else "") + "seconds      MiB  cores  runs  cell", file=file)
    for one in mine:
        shard = f"{one.shard:5}  " if cut else ""
        needs = f"{one.seconds:7.1f}  {one.memory_mib:7,}  {one.cores:5}  {one.runs:4}"
        print(f"{shard}{needs}  {printable(one.cell)}", file=file)
    print(file=file)
    for line in summary(plan):
        print(line, file=file)
    print(said, file=file)


def summary(plan: Plan) -> list[str]:
    """What the cells are expected to need, shard by shard if the plan is cut."""
    mine = plan.mine
    if not plan.cells:
        return ["no test matches the selection"]
    each = [one.estimate for one in mine]
    memory, cores = max((e.memory_mib for e in each), default=0), max((e.cores for e in each), default=0)
    boots = len({e.boot for e in each if e.boot})
    out = [
        f"{len(mine)} cells, {boots} boots: about {duration(weight(each) / 1000)} one after the other, "
        f"up to {memory:,} MiB and {cores} cores at a time"
    ]
    if guessed := sum(not one.runs for one in mine):
        out.append(f"{guessed} of them never ran, and their time is a guess")
    if plan.of > 1:
        out += _shards(plan)
    return out


def _shards(plan: Plan) -> list[str]:
    """The expected time of each shard, and whether the slowest is near the mean."""
    each = loads([one.estimate for one in plan.cells], [one.shard for one in plan.cells], plan.of)
    out = []
    for number, load in enumerate(each, 1):
        count = sum(one.shard == number for one in plan.cells)
        here = "  <- this one" if number == plan.shard else ""
        out.append(f"shard {number}/{plan.of}: {count} cells, about {duration(load / 1000)}{here}")
    slowest, mean = max(each), sum(each) / plan.of
    share = slowest / mean if mean else 1.0
    out.append(f"the slowest shard takes {share:.2f} of the mean")
    if share > SLOWEST:
        longest = max(plan.cells, key=lambda one: one.seconds + one.boot_seconds)
        alone = longest.seconds + longest.boot_seconds
        out.append(f"it cannot be balanced better: {printable(longest.cell)} alone takes {duration(alone)}")
    return out
