# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as text."""

from __future__ import annotations

import io

from nights import cell

from harness.history.plantext import print_plan, summary
from harness.plan.estimates import Estimate
from harness.plan.shards import Shard
from harness.run.planning import Plan, plan_of


def plan(*seconds: float, **words: object) -> Plan:
    each = [
        Estimate(seconds=one, boot="m", boot_seconds=10, memory_mib=1024, runs=n % 2)
        for n, one in enumerate(seconds)
    ]
    return plan_of([(cell(f"t{n}"), one) for n, one in enumerate(each)], **words)  # type: ignore[arg-type]


def test_whole_plan() -> None:
    out = io.StringIO()
    print_plan(plan(1, 2, 3), "estimates: x", file=out)
    said = out.getvalue().splitlines()
    assert said[0].split() == ["seconds", "MiB", "cores", "runs", "cell"]
    assert said[1].split() == ["1.0", "1,024", "1", "0", cell("t0").id]
    assert said[-3:] == [
        "3 cells, 1 boots: about 16.0 s one after the other, up to 1,024 MiB and 1 cores at a time",
        "2 of them never ran, and their time is a guess",
        "estimates: x",
    ]


def test_one_shard_lists_its_own_cells_and_compares_all() -> None:
    out = io.StringIO()
    print_plan(plan(100, 100, 100, 100, shard=Shard(number=2, count=2)), "", file=out)
    said = out.getvalue().splitlines()
    assert [line.split()[0] for line in said[1:3]] == ["2", "2"]
    assert "shard 2/2: 2 cells, about 3 min 30 s  <- this one" in said
    assert "the slowest shard takes 1.00 of the mean" in said


def test_cell_that_no_cut_can_balance_is_named() -> None:
    said = summary(plan(500, 1, 1, count=2))
    assert said[-1] == f"it cannot be balanced better: {cell('t0').id} alone takes 8 min 30 s"


def test_empty_plan() -> None:
    assert summary(plan()) == ["no test matches the selection"]
