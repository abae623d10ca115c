# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of one series."""

from __future__ import annotations

import random
import sys

import pytest

from harness.core.errors import InfraError
from harness.history.changes import FEWEST, Change, Series, change_points, find_changes


def series(values: list[float], *, exact: bool = False, runs: list[int] | None = None) -> Series:
    return Series(
        cell="c", metric="m", place="tcg", exact=exact, values=tuple(values),
        runs=tuple(runs if runs is not None else range(len(values))),
    )  # fmt: skip


def places(found: list[Change]) -> list[tuple[int, int, float, float]]:
    return [(change.last, change.first, change.before, change.after) for change in found]


def test_exact_values_are_compared_exactly() -> None:
    assert places(find_changes([series([100, 100, 101, 101, 100], exact=True)])) == [
        (1, 2, 100, 101),
        (3, 4, 101, 100),
    ]
    assert find_changes([series([7] * 30, exact=True), series([7], exact=True), series([], exact=True)]) == []


def test_gap_is_between_the_runs_that_have_values() -> None:
    one = series([5, 5, 6], exact=True, runs=[0, 1, 4])
    assert places(find_changes([one])) == [(1, 4, 5, 6)]


def test_zero_has_no_share() -> None:
    (change,) = find_changes([series([0, 5], exact=True)])
    assert change.share == float("inf")


def test_step_of_a_noisy_time() -> None:
    draw = random.Random(1)
    values = [10 * draw.gauss(1, 0.02) * (1.15 if at >= 18 else 1) for at in range(30)]
    (change,) = find_changes([series(values)])
    assert (change.last, change.first) == (17, 18)
    assert change.share == pytest.approx(0.15, abs=0.02)


def test_step_is_at_its_run_where_others_have_no_value() -> None:
    values = [10.0, 10.1] * 8 + [12.0, 12.1] * 8
    runs = [run for run in range(40) if run not in (3, 4, 16, 17, 18, 30, 31, 32)]
    (change,) = find_changes([series(values, runs=runs)])
    assert (change.last, change.first) == (runs[15], runs[16]) == (20, 21)


def test_two_slow_nights_are_outliers_until_a_third_agrees() -> None:
    """Otava alone takes two of them, side by side and alike, for a level."""
    values = [10.0 + 0.1 * (at % 3) for at in range(28)] + [14.0, 14.1]
    assert change_points([values]) == [[28]]
    assert find_changes([series(values)]) == []
    assert places(find_changes([series([*values, 14.2])])) == [(27, 28, 10.1, 14.1)]


def test_noise_alone_is_no_change() -> None:
    draw = random.Random(2)
    many = [
        series([10 * (1 + abs(draw.gauss(0, 0.03)) + (draw.random() < 0.07) * draw.uniform(0, 0.6))
                for _ in range(30)])
        for _ in range(100)
    ]  # fmt: skip
    assert len(find_changes(many)) <= 1


def test_too_few_values_are_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    assert find_changes([series([1.0] * (FEWEST - 1))]) == []
    with pytest.raises(InfraError, match="cannot run Otava's Python") as caught:
        find_changes([series([1.0] * FEWEST)])
    assert "make setup" in caught.value.hint
