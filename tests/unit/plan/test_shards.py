# SPDX-License-Identifier: GPL-2.0-or-later
"""Cutting a list of cells into shards."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.plan.estimates import Estimate
from harness.plan.shards import MOST_SHARDS, SLOWEST, Shard, cut, loads, parse_shard, weight


def night(seed: int) -> list[Estimate]:
    """Cells like those of a night: machines with long tests, bare boots with many short ones, seeds."""
    draw = random.Random(seed)
    out = []
    for machine in range(draw.randint(3, 8)):
        boot = f"machine {machine}"
        out += [
            Estimate(seconds=draw.lognormvariate(2.5, 1.0) % 120, boot=boot, boot_seconds=draw.uniform(8, 14))
            for _ in range(draw.randint(4, 30))
        ]
    for kind in range(4):
        out += [Estimate(seconds=0.02, boot=f"bare {kind}", boot_seconds=draw.uniform(3, 20))] * 150
    for at in range(draw.randint(20, 100)):
        out += [Estimate(seconds=0.01, boot=f"race {at}", boot_seconds=draw.uniform(2, 6))] * 12
    out += [Estimate(seconds=draw.uniform(1, 5)) for _ in range(10)]
    return out


@pytest.mark.parametrize("count", [2, 3, 5, 8])
@pytest.mark.parametrize("start", range(12))
def test_slowest_shard_is_near_the_mean(start: int, count: int) -> None:
    cells = night(start)
    chosen = cut(cells, count)
    each = loads(cells, chosen, count)
    assert max(each) <= SLOWEST * sum(each) / count, each
    assert len(chosen) == len(cells) and set(chosen) == set(range(1, count + 1))


def test_boots_are_not_repeated_for_nothing() -> None:
    """Two boots that take as long as each other need not be cut; one that is worth two must be."""
    two = [Estimate(seconds=1, boot=name, boot_seconds=10) for name in "aabb"]
    assert cut(two, 2) == (1, 1, 2, 2)
    one = [Estimate(seconds=50, boot="a", boot_seconds=10)] * 2
    assert sorted(cut(one, 2)) == [1, 2]
    assert weight(one) == 110_000 and loads(one, cut(one, 2), 2) == [60_000, 60_000]


def test_piece_goes_where_its_boot_is() -> None:
    cells = [Estimate(seconds=9, boot="a", boot_seconds=100)] * 20 + [Estimate(seconds=1)] * 10
    chosen = cut(cells, 1)
    assert set(chosen) == {1} and loads(cells, chosen, 1) == [290_000]


def test_more_shards_than_cells() -> None:
    cells = [Estimate(seconds=1), Estimate(seconds=2)]
    assert cut(cells, 4) == (2, 1)
    assert loads(cells, cut(cells, 4), 4) == [2000, 1000, 0, 0]
    assert cut([], 3) == ()


def test_cell_longer_than_the_rest_is_alone() -> None:
    cells = [Estimate(seconds=100)] + [Estimate(seconds=1)] * 10
    assert cut(cells, 3)[0] not in cut(cells, 3)[1:]


def test_equal_input_gives_equal_shards_in_another_process() -> None:
    """Hash randomization is the usual reason why it would not."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_shards import cut, night; print(cut(night(7), 5))"
    )
    said = set()
    for hashes in ("1", "2", "3"):
        env = os.environ | {"PYTHONHASHSEED": hashes, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-c", program, str(CHECKOUT / "tests/unit/plan")]
        said.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert said == {f"{cut(night(7), 5)}\n"}


def test_parse() -> None:
    assert parse_shard("2/3") == Shard(number=2, count=3)
    assert str(parse_shard("2/3")) == "2/3"
    for bad in ("", "0/3", "4/3", "1", "a/b", "1/3/", "-1/3", f"1/{MOST_SHARDS + 1}", "١/٣", "1/0"):
        with pytest.raises(UserError, match="not a shard"):
            parse_shard(bad)
