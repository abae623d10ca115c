# SPDX-License-Identifier: GPL-2.0-or-later
"""Derives the verdicts of cells and runs from how tests ended, the consoles and the rows of the limits table.

Pure functions; ``docs/verdicts.md`` describes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from harness.core.records import Verdict
from harness.run.record import Row

EXIT_CODES = {
    Verdict.PASS: 0,
    Verdict.FAIL: 1,
    # 2 is a wrong command line or input (errors.UserError)
    Verdict.CRASH: 3,
    Verdict.ERROR: 4,
    Verdict.HANG: 5,
    Verdict.SKIP: 6,  # also if nothing ran
}


class CrashLike(Protocol):
    """The part of ``monitor.waits.Crash`` that the judge reads."""

    @property
    def layer(self) -> str: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Ending:
    """An exception that ended one phase of a test (setup, call, teardown).

    Attributes:
        verdict: the verdict that the kind of exception implies.
        layer: the layer that crashed, if the exception names it.
        reason: one line.
        expected: it is the failure that the test's xfail mark announces.
    """

    verdict: Verdict
    layer: str = ""
    reason: str = ""
    expected: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A cell's verdict, the layer responsible, and the reason in one line."""

    verdict: Verdict
    layer: str = ""
    reason: str = ""


def row_problem(row: Row) -> str:
    """Why a row of the limits table rules out a pass; empty if it does not.

    A test that records a loss but does not assert on it must not pass.
    """
    what = f"{row.abi} {row.guest} {row.path}"
    if row.lost:
        return f"{what}: {row.lost} of {row.sent} events lost"
    if row.duplicated:
        return f"{what}: {row.duplicated} events seen twice"
    if row.seen != row.sent:
        return f"{what}: {row.sent} events sent but {row.seen} seen, with none counted as lost or duplicated"
    return ""


GRAVITY = [Verdict.PASS, Verdict.SKIP, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR]


def judge_cell(
    *, endings: Iterable[Ending] = (), crash: CrashLike | None = None, rows: Iterable[Row] = ()
) -> Judgement:
    """The verdict of one cell.

    Args:
        endings: one per phase that ended with an exception; empty if the test
            passed in pytest.
        crash: the first crash line found in any console of the machine while
            the cell ran or right after it.
        rows: the rows that the cell added to the limits table.

    A crash line outranks everything else: a failed assertion, silence or an
    error of the harness that comes with it is a consequence of the crash.
    """
    endings = list(endings)
    if crash is not None:
        return Judgement(verdict=Verdict.CRASH, layer=crash.layer, reason=crash.reason[:300])
    if endings:
        # The first phase that failed is the cause, not a clean-up that fails after it. But a clean-up with
        # a worse result (e.g. the machine died while the guest was destroyed) must not be hidden.
        worst = endings[0]
        for ending in endings[1:]:
            if (
                worst.verdict in (Verdict.SKIP, Verdict.FAIL)
                and ending.verdict
                in (
                    Verdict.HANG,
                    Verdict.CRASH,
                )
            ) or worst.verdict is Verdict.SKIP:
                worst = ending
        if worst.verdict is not Verdict.SKIP or worst.expected:
            rows = ()
        for row in rows:
            if problem := row_problem(row):
                return Judgement(verdict=Verdict.FAIL, reason=problem)
        return Judgement(verdict=worst.verdict, layer=worst.layer, reason=worst.reason)
    for row in rows:
        if problem := row_problem(row):
            return Judgement(verdict=Verdict.FAIL, reason=problem)
    return Judgement(verdict=Verdict.PASS)


def judge_run(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a run: that of its worst cell.

    A run with passed and skipped cells is ``pass``; a run in which nothing
    passed and nothing failed is ``skip``, whose exit code is not 0.
    """
    seen = set(verdicts)
    bad = [v for v in GRAVITY if v in seen and v not in (Verdict.PASS, Verdict.SKIP)]
    if bad:
        return bad[-1]
    return Verdict.PASS if Verdict.PASS in seen else Verdict.SKIP
