# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts of cells and runs, in every combination."""

from __future__ import annotations

import itertools

import pytest

from harness.core.errors import EvhError, UserError
from harness.core.paths import CHECKOUT
from harness.core.records import Verdict
from harness.monitor.waits import Crash
from harness.run import judge
from harness.run.judge import EXIT_CODES, Ending, judge_cell, judge_run
from harness.run.record import Row

PANIC = Crash(layer="xen", line="(XEN) Panic on CPU 0:\r", seconds=1.0, excerpt="...")


def row(**changes: object) -> Row:
    words = {"abi": "3l", "guest": "dom0", "path": "raw", "opened": 10, "sent": 10, "seen": 10}
    words |= {"lost": 0, "duplicated": 0, "seconds": 1.0}
    return Row(**(words | changes))  # type: ignore[arg-type]


ALL = list(Verdict)


@pytest.mark.parametrize("verdict", [v for v in ALL if v is not Verdict.PASS])
def test_crash_line_outranks_every_ending(verdict: Verdict) -> None:
    got = judge_cell(endings=[Ending(verdict=verdict, reason="x")], crash=PANIC)
    assert got == judge.Judgement(verdict=Verdict.CRASH, layer="xen", reason="(XEN) Panic on CPU 0:")


def test_crash_line_after_a_pass_is_a_crash() -> None:
    assert judge_cell(crash=PANIC, rows=[row()]).verdict is Verdict.CRASH


@pytest.mark.parametrize("verdict", [v for v in ALL if v is not Verdict.PASS])
def test_single_ending_is_the_verdict(verdict: Verdict) -> None:
    assert judge_cell(endings=[Ending(verdict=verdict, layer="dom0", reason="r")]) == judge.Judgement(
        verdict=verdict, layer="dom0", reason="r"
    )


@pytest.mark.parametrize(
    ("first", "then", "verdict"),
    [
        (
            a,
            b,
            b if a is Verdict.SKIP or (a is Verdict.FAIL and b in (Verdict.HANG, Verdict.CRASH)) else a,
        )
        for a, b in itertools.product([v for v in ALL if v is not Verdict.PASS], repeat=2)
    ],
)
def test_first_cause_counts_unless_clean_up_finds_worse(
    first: Verdict, then: Verdict, verdict: Verdict
) -> None:
    endings = [Ending(verdict=first, reason="first"), Ending(verdict=then, reason="then")]
    assert judge_cell(endings=endings).verdict is verdict


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"lost": 1, "seen": 9}, "lost"),
        ({"duplicated": 2, "seen": 12}, "twice"),
        ({"seen": 9}, "9 seen"),
    ],
)
def test_row_that_tells_of_a_loss_cannot_pass(changes: dict[str, int], word: str) -> None:
    got = judge_cell(rows=[row(), row(**changes)])
    assert got.verdict is Verdict.FAIL
    assert word in got.reason


def test_nothing_wrong_is_a_pass() -> None:
    assert judge_cell(rows=[row()]).verdict is Verdict.PASS
    assert judge_cell().verdict is Verdict.PASS


@pytest.mark.parametrize("size", range(len(ALL) + 1))
def test_run_verdict_of_every_set_of_cells(size: int) -> None:
    order = [Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR]
    for cells in itertools.combinations(ALL, size):
        bad = [v for v in cells if v in order]
        got = judge_run(cells)
        if bad:
            assert got is max(bad, key=order.index)
        else:
            assert got is (Verdict.PASS if Verdict.PASS in cells else Verdict.SKIP)
        assert (EXIT_CODES[got] == 0) == (Verdict.PASS in cells and not bad), (
            "green only if something passed and nothing was bad"
        )


def test_exit_codes_are_all_different_and_none_is_the_user_errors() -> None:
    assert len(set(EXIT_CODES.values())) == len(Verdict)
    assert UserError.exit_code not in EXIT_CODES.values()
    assert EXIT_CODES[Verdict.ERROR] == EvhError.exit_code


def test_every_exit_code_is_documented() -> None:
    text = (CHECKOUT / "docs" / "verdicts.md").read_text()
    for verdict, code in EXIT_CODES.items():
        assert f"| `{verdict}` | {code} |" in text


def test_a_lost_event_is_a_failure_though_the_test_skips_itself() -> None:
    skipped = judge.Ending(verdict=Verdict.SKIP, reason="x")
    lost = row(lost=5, seen=5)
    assert judge.judge_cell(endings=[skipped], rows=[lost]).verdict is Verdict.FAIL
    expected = judge.Ending(verdict=Verdict.SKIP, reason="expected failure", expected=True)
    assert judge.judge_cell(endings=[expected], rows=[lost]).verdict is Verdict.SKIP
