# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tables of a report say of a recorded run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import recorded

from harness.core.records import Verdict
from harness.report.tables import folded, metric_cells, schedules_line, time_split
from harness.run.record import (
    BootRecord,
    TestResult,
)


def test_time_adds_up_to_the_whole() -> None:
    assert sum(s.share for s in time_split(recorded())) == pytest.approx(1)


def seeded(seed: int, verdict: Verdict = Verdict.PASS, boot: int = 1, **words: object) -> TestResult:
    return TestResult(
        cell=f"b/release/bare-pv64/3l/race::t/{seed}", test="t", suite="race", guest="bare-pv64", abi="3l",
        verdict=verdict, seed=seed, boot=boot, seconds=1.0, **words,
    )  # type: ignore[arg-type] # fmt: skip


def boot(number: int, seconds: float, *, deterministic: bool = True) -> BootRecord:
    return BootRecord(
        number=number, kind="bare-pv64", args="", seed=number, deterministic=deterministic, vcpus=2,
        memory_mib=1024, xen_args="", verdict=Verdict.PASS, reason="", seconds=seconds, console="c",
    )  # fmt: skip


def test_passes_of_many_seeds_are_one_line_and_failures_are_not() -> None:
    tests = [seeded(1), seeded(2), seeded(3, Verdict.FAIL), seeded(4)]
    lines = folded(tests)
    assert [(t.verdict, said, seconds) for t, said, seconds in lines] == [
        (Verdict.PASS, ", seeds 1-2,4", 3.0),
        (Verdict.FAIL, ", seed 3", 1.0),
    ]
    assert folded([seeded(1)])[0][1] == ""


def test_schedules_a_minute_count_each_deterministic_boot_once(tmp_path: Path) -> None:
    record = recorded()
    record.boots = [boot(1, 20.0), boot(2, 10.0), boot(3, 50.0, deterministic=False)]
    record.tests = [
        seeded(1, boot=1, metrics={"rounds": 1000}),
        seeded(1, boot=1, metrics={"rounds": 1000, "cost": 77}),
        seeded(2, boot=2, metrics={"rounds": 1000}),
        seeded(3, boot=3, metrics={"rounds": 9}),
    ]
    assert schedules_line(record) == "schedules: 3,000 explored in 30.0 s of 2 boots, 6,000 a minute"
    assert metric_cells(record) == [("race::t", "bare-pv64", "cost", "77")]
    assert schedules_line(recorded()) == ""


def test_cells_of_several_flavours_do_not_share_a_line() -> None:
    def test(flavour: str, seed: int, base: str = "b1") -> TestResult:
        return TestResult(
            cell=f"{base}/{flavour}/pv64/3l/race::test_a/{seed}", test="test_a", suite="race", guest="pv64",
            abi="3l", verdict=Verdict.PASS, seconds=1, seed=seed,
        )  # fmt: skip

    both = [test("release", 1), test("release", 2), test("debug", 1), test("debug", 2)]
    assert [(said, seconds) for _, said, seconds in folded(both)] == [
        (", seeds 1-2, release", 2),
        (", seeds 1-2, debug", 2),
    ]
    assert [said for _, said, _ in folded(both[:2])] == [", seeds 1-2"]
    bases = [test("release", 1), test("release", 1, base="b2")]
    assert [said for _, said, _ in folded(bases)] == [", b1", ", b2"]
