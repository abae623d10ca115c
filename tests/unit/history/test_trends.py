# SPDX-License-Identifier: GPL-2.0-or-later
"""Thirty nights with two planted changes: both are named at their night, and nothing else is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from nights import record_run

from harness.core.records import Verdict
from harness.history.trends import Trends, number, text_of, trends

NIGHTS, COUNTED, TIMED = 30, 24, 24
SLOWER, COSTLIER = 17, 22  # nights, from 1, at which the planted changes come
GAPS = ((4, "time5"), (5, "time5"), (19, "time5"), (9, "time0"))  # nights on which a cell did not run


def night(runs: Path, day: int) -> None:
    """One night, by the recorder of real runs. Xen changes on five nights, of which one is costlier."""
    draw = random.Random(day)
    build = sum(day >= at for at in (5, 11, COSTLIER, 26, 29))
    costs = {f"cost{n}": {"send": 40_000 + 137 * n, "deliver": 9_000 + n} for n in range(COUNTED)}
    if day >= COSTLIER:
        costs["cost3"]["send"] = round(costs["cost3"]["send"] * 1.02)
    times = {f"time{n}": (5 + 3 * n) * draw.gauss(1, 0.03) for n in range(TIMED)}
    if day >= SLOWER:
        times["time5"] *= 1.15
    for at, name in GAPS:
        if at == day:
            del times[name]
    folder = f"n{day:02}"
    record_run(
        runs, folder, dict.fromkeys([*costs], Verdict.PASS), metrics=costs, deterministic=True,
        started=f"2026-11-{day:02}T01:00:00.000+00:00", commit=f"{build:07x}", keys={"xen": f"{build:032}"},
    )  # fmt: skip
    record_run(
        runs, f"{folder}-times", dict.fromkeys(times, Verdict.PASS), seconds=times,
        started=f"2026-11-{day:02}T03:00:00.000+00:00", commit=f"{day:07x}", keys={"xen": f"{build:032}"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Trends:
    runs = tmp_path_factory.mktemp("nights") / "runs"
    for day in range(1, NIGHTS + 1):
        night(runs, day)
    return trends(runs)


def test_both_planted_changes_are_named_and_no_other(found: Trends) -> None:
    assert len(found.series) >= 2 * COUNTED + TIMED
    named = [
        (change.series.cell.split("::")[1], change.series.metric, found.history.nights[change.first].day)
        for change in found.changes
    ]
    assert named == [
        ("time5/1", "seconds", f"2026-11-{SLOWER}"),
        ("cost3/1", "send", f"2026-11-{COSTLIER}"),
    ]
    slower, costlier = found.changes
    assert slower.share == pytest.approx(0.15, abs=0.03)
    assert costlier.share == pytest.approx(0.02, abs=1e-4)


def test_lines_name_the_commits_and_what_was_rebuilt(found: Trends) -> None:
    text = text_of(found)
    assert f"2026-11-{SLOWER} (n{SLOWER}-times): " in text
    assert f"commits {SLOWER - 1:07x}..{SLOWER:07x}" in text
    costly = next(line for line in text.splitlines() if "cost3" in line)
    assert "send: 40,411 -> 41,219 (+2.0 %, exact" in costly
    assert "commits 0000002..0000003; other xen" in costly
    assert "flaky" not in text and "differ on equal artifacts" not in text


def test_gaps_are_told(found: Trends) -> None:
    gaps = {series.cell.split("::")[1]: series.gaps for series in found.series}
    assert {cell: count for cell, count in gaps.items() if count} == {"time5/1": 3, "time0/1": 1}
    assert "4 values are missing within their series" in text_of(found)


def test_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert text_of(trends(tmp_path / "runs")) == "no run to read"


def test_numbers() -> None:
    shown = [number(value) for value in (1234567, 0.5, 1234.5, 0, 12.345)]
    assert shown == ["1,234,567", "0.5", "1,234", "0", "12.3"]
