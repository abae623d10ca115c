# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts over nights: flaky cells and deterministic ones that differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.records import Verdict
from harness.history.index import index_of
from harness.history.merge import merge
from harness.history.nights import History, contradictions, flakes, read_history, wilson

PASS, FAIL, HANG, ERROR, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.HANG, Verdict.ERROR, Verdict.SKIP


@pytest.fixture
def history(recorded_run, tmp_path: Path):
    """The history of nights, each a dict of words for ``recorded_run``."""

    def go(*nights: dict[str, object]) -> History:
        for at, words in enumerate(nights, 1):
            verdicts = words.pop("verdicts")
            recorded_run(f"n{at}", verdicts, started=f"2026-11-{at:02}T01:00:00.000+00:00", **words)
        with index_of(tmp_path / "runs") as connection:
            return read_history(connection)

    return go


def test_rate_of_a_flaky_cell(history) -> None:
    nights = [{"verdicts": {"a": FAIL if at in (3, 7) else PASS, "b": PASS}} for at in range(10)]
    (flake,) = flakes(history(*nights))
    assert flake.cell.endswith("race::a/1")
    assert (flake.red, flake.total, flake.example) == (2, 10, (3, 0))
    assert flake.interval == pytest.approx((0.0567, 0.5098), abs=1e-4)


def test_wilson() -> None:
    """Values of Newcombe 1998, Statistics in Medicine 17, table I."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=1e-4)


def test_fixed_by_a_commit_is_not_flaky(history) -> None:
    red, green = {"verdicts": {"a": FAIL}}, {"verdicts": {"a": PASS}, "commit": "1234567"}
    nights = [red, dict(red), green]
    assert flakes(history(*nights)) == []


def test_error_and_skip_are_not_flaky(history) -> None:
    nights = [{"verdicts": {"a": verdict}} for verdict in (PASS, ERROR, SKIP, PASS)]
    assert flakes(history(*nights)) == []


def test_flaky_within_a_merged_run(recorded_run, tmp_path: Path) -> None:
    parts = [recorded_run("one", {"a": FAIL}), recorded_run("two", {"a": PASS})]
    merge(parts, plans={}, run_dir=tmp_path / "runs" / "merged")
    with index_of(tmp_path / "runs") as connection:
        found = read_history(connection)
    assert [night.id for night in found.nights] == ["merged"]
    assert [flake.cell.split("::")[1] for flake in flakes(found)] == ["a/1"]


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ({"verdicts": {"a": PASS}}, {"verdicts": {"a": FAIL}}, "pass, then fail"),
        ({"metrics": {"a": {"n": 1}}}, {"metrics": {"a": {"n": 2}}}, "n: 1.0, then 2.0"),
        ({"consoles": {"a": b"1"}}, {"consoles": {"a": b"2"}}, "another console"),
        ({"metrics": {"a": {"n": 1}}}, {"metrics": {"a": {"n": 2}}, "keys": {"xen": "c" * 32}}, ""),
        ({"metrics": {"a": {"n": 1}}}, {"metrics": {"a": {"n": 2}}, "qemu": "QEMU 10"}, ""),
        ({"verdicts": {"a": HANG}}, {"verdicts": {"a": PASS}}, ""),
        ({}, {}, ""),
    ],
)
def test_deterministic_cell_that_differs(history, first, second, why) -> None:
    nights = [{"verdicts": {"a": PASS}, "deterministic": True} | words for words in (first, second)]
    found = history(*nights)
    assert [one.why for one in contradictions(found)] == ([why] if why else [])
    hung = first.get("verdicts") == {"a": HANG}
    assert bool(flakes(found)) is hung
