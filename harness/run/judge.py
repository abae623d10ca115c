# SPDX-License-Identifier: GPL-2.0-or-later
"""Derives verdicts from pytest's outcome, the exceptions and the consoles.

Pure functions; ``docs/verdicts.md`` describes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pytest

from harness.core.errors import EvhError
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


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, followed by its causes and contexts."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def classify(error: BaseException) -> Ending:
    """Classify an exception that a test raised.

    A lost machine may cause further errors in the test (a broken SSH
    channel, a failed clean-up), so the chain is searched for the first
    exception that carries a verdict.

    Args:
        error: the exception that pytest caught.
    """
    skipped = isinstance(error, pytest.skip.Exception)
    for at in _chain(error):
        verdict = getattr(at, "verdict", None)
        if skipped and verdict not in (Verdict.HANG, Verdict.CRASH, Verdict.ERROR):
            continue  # a test may skip itself because of a failure, but a lost machine is lost
        if isinstance(verdict, Verdict) and verdict is not Verdict.PASS:
            crash = getattr(at, "crash", None)
            layer = getattr(crash, "layer", "") or getattr(at, "layer", "") or ""
            return Ending(verdict=verdict, layer=layer, reason=_one_line(at))
    if skipped:
        return Ending(verdict=Verdict.SKIP, reason=_one_line(error))
    if isinstance(error, pytest.fail.Exception):
        # pytest-timeout has no exception class of its own; this matches its message.
        if re.match(r"Timeout \(?>", str(error)):
            return Ending(verdict=Verdict.HANG, reason=_one_line(error))
        return Ending(verdict=Verdict.FAIL, reason=_one_line(error))
    if isinstance(error, AssertionError):
        return Ending(verdict=Verdict.FAIL, reason=_one_line(error))
    if isinstance(error, EvhError):
        # A command or tool that failed in the machine (ssh.CommandFailed) is a failure of the system under
        # test; other errors are faults of the harness or the host.
        tested = error.exit_code == EXIT_CODES[Verdict.FAIL]
        return Ending(verdict=Verdict.FAIL if tested else Verdict.ERROR, reason=_one_line(error))
    return Ending(verdict=Verdict.ERROR, reason=f"{type(error).__name__}: {_one_line(error)}")


def is_of_the_harness(error: BaseException) -> bool:
    """Whether an error of the harness or the host is in the chain, as opposed to one of the test's own."""
    return any(isinstance(at, EvhError) for at in _chain(error))


def _one_line(error: BaseException) -> str:
    text = str(getattr(error, "msg", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # The harness's errors end with a command's output, which matters; pytest's continue with a diff.
    told = " ".join(lines) if isinstance(error, EvhError) else "".join(lines[:1])
    return told[:300] or type(error).__name__


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


_GRAVITY = [Verdict.PASS, Verdict.SKIP, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR]


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
    bad = [v for v in _GRAVITY if v in seen and v not in (Verdict.PASS, Verdict.SKIP)]
    if bad:
        return bad[-1]
    return Verdict.PASS if Verdict.PASS in seen else Verdict.SKIP
