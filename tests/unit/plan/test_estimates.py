# SPDX-License-Identifier: GPL-2.0-or-later
"""Estimates of cells that never ran."""

from __future__ import annotations

from dataclasses import replace

from harness.plan.cells import Cell
from harness.plan.estimates import Estimate, Estimates

CELL = Cell(base="xen-4.20+linux-6.12", guest="bare-pv64", abi="3l", suite="race", test="test_bare[a]")


def test_own_estimate_comes_first() -> None:
    own = Estimate(seconds=1, runs=3)
    known = Estimates({CELL.id: own, replace(CELL, seed=2).id: Estimate(seconds=9, runs=3)})
    assert known.of(CELL) is own


def test_kin_differ_only_in_base_flavour_and_seed() -> None:
    known = Estimates(
        {
            replace(CELL, seed=seed).id: Estimate(seconds=seed, boot=f"b{seed}", boot_seconds=4, runs=seed)
            for seed in (1, 2, 6)
        }
    )
    other = known.of(replace(CELL, seed=9, flavour="debug", base="xen-4.19+linux-6.6"))
    assert other is not None
    assert (other.seconds, other.boot_seconds, other.runs) == (2, 4, 6)
    assert other.boot == "xen-4.19+linux-6.6/debug/bare-pv64/race/9"
    for change in ({"guest": "bare-pv32"}, {"abi": "2l"}, {"test": "test_bare[b]"}, {"suite": "abuse"}):
        assert known.of(replace(CELL, **change)) is None


def test_kin_without_a_boot_have_none() -> None:
    found = Estimates({CELL.id: Estimate(seconds=1)}).of(replace(CELL, seed=2))
    assert found is not None and found.boot == ""


def test_unreadable_id_is_found_by_itself_alone() -> None:
    assert Estimates({"old/style": Estimate(seconds=1)}).of(CELL) is None
