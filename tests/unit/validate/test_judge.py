# SPDX-License-Identifier: GPL-2.0-or-later
"""What a patch did to the cells."""

from __future__ import annotations

import pytest

from harness.core.records import Verdict
from harness.validate.judge import CellResult, Change, History, Told, costs, metrics_of, new_warnings

PASS, SKIP, FAIL, CRASH = Verdict.PASS, Verdict.SKIP, Verdict.FAIL, Verdict.CRASH


def cell(verdict: Verdict, name: str = "a", **metrics: int) -> CellResult:
    return CellResult(id=f"b/release/bare-pv64/3l/s::{name}/1", verdict=verdict, metrics=metrics)


def told(*verdicts: Verdict) -> list[list[tuple[Change, int]]]:
    """What is told after each patch of one cell that ends so on the base and after each patch."""
    history = History([cell(verdicts[0])])
    return [
        [(one.change, one.since) for one in history.add(number, [cell(verdict)])]
        for number, verdict in enumerate(verdicts[1:], 1)
    ]


@pytest.mark.parametrize(
    ("verdicts", "changes"),
    [
        ((PASS, PASS), [[]]),
        ((PASS, SKIP), [[]]),
        ((PASS, FAIL, FAIL, PASS), [[(Change.BROKEN, 0)], [(Change.SINCE, 1)], [(Change.MENDED, 1)]]),
        ((FAIL, FAIL, CRASH), [[(Change.BEFORE, 0)], [(Change.BEFORE, 0)]]),
        ((FAIL, PASS, FAIL), [[(Change.MENDED, 0)], [(Change.BROKEN, 0)]]),
        ((SKIP, FAIL), [[(Change.BROKEN, 0)]]),
        ((FAIL, SKIP, PASS), [[], [(Change.MENDED, 0)]]),
        ((FAIL, SKIP, FAIL), [[], [(Change.BEFORE, 0)]]),
    ],
)
def test_changes(verdicts: tuple[Verdict, ...], changes: list[list[tuple[Change, int]]]) -> None:
    assert told(*verdicts) == changes


def test_cells_that_come_and_go() -> None:
    history = History([cell(PASS), cell(FAIL, "b"), cell(SKIP, "c")])
    assert history.add(1, [cell(FAIL, "new")]) == [
        Told(cell=cell(FAIL, "new"), change=Change.BROKEN, was="not there"),
        Told(cell=cell(PASS), change=Change.GONE, was="pass"),
    ]


def test_costs_are_against_the_step_before_largest_first() -> None:
    before = {"send": 500, "open": 1000, "same": 7}
    found = costs({"send": 400}, before, {"send": 525, "open": 900, "same": 7, "new": 1})
    assert [(one.metric, one.base, one.before, one.now) for one in found] == [
        ("open", None, 1000, 900), ("send", 400, 500, 525),
    ]  # fmt: skip
    assert found[1].change == pytest.approx(0.05)


def test_metrics_are_named_by_guest() -> None:
    assert metrics_of([cell(PASS, send=3), cell(PASS, "b", open=4)]) == {
        "bare-pv64 send": 3, "bare-pv64 open": 4,
    }  # fmt: skip
    assert cell(PASS, "b[x-1]").name == "s::b[x-1]"


def test_new_warnings() -> None:
    assert new_warnings(["a: old"], ["a: old", "b: new"]) == ["b: new"]
