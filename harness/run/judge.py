# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts: from what pytest, the exceptions and the consoles say.

Pure functions; ``docs/verdicts.md`` is their prose.
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
    # 2 is a wrong use of the command line or of an input (errors.UserError)
    Verdict.CRASH: 3,
    Verdict.ERROR: 4,
    Verdict.HANG: 5,
    Verdict.SKIP: 6,  # also: nothing ran
}


class CrashLike(Protocol):
    """What judge reads of ``consoles.Crash``."""

    @property
    def layer(self) -> str: ...
    @property
    def line(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How one phase of a test (setup, call, teardown) ended by exception.

    Attributes:
        verdict: what the kind of exception means.
        layer: whose crash, where the exception knows.
        reason: one line.
    """

    verdict: Verdict
    layer: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A cell's verdict, whose it is, and one line of why."""

    verdict: Verdict
    layer: str = ""
    reason: str = ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what it was raised from."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def classify(error: BaseException) -> Ending:
    """What an exception that left a test says about the cell.

    A test may wrap or follow a lost machine with errors of its own (an SSH
    channel that broke, a failed clean-up), so the chain is searched for the
    first exception that carries a verdict.

    Args:
        error: as caught by pytest.
    """
    if isinstance(error, pytest.skip.Exception):
        return Ending(verdict=Verdict.SKIP, reason=_one_line(error))
    for at in _chain(error):
        verdict = getattr(at, "verdict", None)
        if isinstance(verdict, Verdict) and verdict is not Verdict.PASS:
            crash = getattr(at, "crash", None)
            layer = getattr(crash, "layer", "") or getattr(at, "layer", "") or ""
            return Ending(verdict=verdict, layer=layer, reason=_one_line(at))
    if isinstance(error, pytest.fail.Exception):
        # pytest-timeout has no exception of its own; this is its wording.
        if re.match(r"Timeout \(?>", str(error)):
            return Ending(verdict=Verdict.HANG, reason=_one_line(error))
        return Ending(verdict=Verdict.FAIL, reason=_one_line(error))
    if isinstance(error, AssertionError):
        return Ending(verdict=Verdict.FAIL, reason=_one_line(error))
    if isinstance(error, EvhError):
        # A command or tool in the machine that ended badly (ssh.CommandFailed) is theirs; the rest is ours.
        theirs = error.exit_code == EXIT_CODES[Verdict.FAIL]
        return Ending(verdict=Verdict.FAIL if theirs else Verdict.ERROR, reason=_one_line(error))
    return Ending(verdict=Verdict.ERROR, reason=f"{type(error).__name__}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    text = str(getattr(error, "msg", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Ours end with what a command printed, which is the point; pytest's go on with a diff, which is not.
    told = " ".join(lines) if isinstance(error, EvhError) else "".join(lines[:1])
    return told[:300] or type(error).__name__


def row_problem(row: Row) -> str:
    """Why a line of the limits table cannot belong to a pass; empty if it can.

    A test that records a loss and forgets to assert on it must not be green.
    """
    what = f"{row.abi} {row.guest} {row.path}"
    if row.lost:
        return f"{what}: {row.lost} of {row.sent} events lost"
    if row.duplicated:
        return f"{what}: {row.duplicated} events seen twice"
    if row.seen != row.sent:
        return f"{what}: {row.sent} events sent but {row.seen} seen, though none is called lost or duplicated"
    return ""


_GRAVITY = [Verdict.PASS, Verdict.SKIP, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR]


def judge_cell(
    *, endings: Iterable[Ending] = (), crash: CrashLike | None = None, rows: Iterable[Row] = ()
) -> Judgement:
    """The verdict of one cell.

    Args:
        endings: one per phase that ended by an exception; none means that
            pytest saw it pass.
        crash: the first crash line found in any console of the machine while
            the cell ran or right after it.
        rows: the lines it gave to the limits table.

    A crash line outranks everything: the broken assertion, the silence and
    the harness's own error that come with it are its consequences.
    """
    endings = list(endings)
    if crash is not None:
        return Judgement(verdict=Verdict.CRASH, layer=crash.layer, reason=crash.line.strip()[:300])
    if endings:
        # The first phase that went wrong is the cause; the clean-up that fails after it is not. But a
        # clean-up that finds worse (a machine that died while the guest was destroyed) is not hidden.
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
        return Judgement(verdict=worst.verdict, layer=worst.layer, reason=worst.reason)
    for row in rows:
        if problem := row_problem(row):
            return Judgement(verdict=Verdict.FAIL, reason=problem)
    return Judgement(verdict=Verdict.PASS)


def judge_run(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a run: its worst cell.

    Skipped cells beside passed ones do not spoil a run; a run in which
    nothing passed and nothing failed is ``skip``, and never green.
    """
    seen = set(verdicts)
    bad = [v for v in _GRAVITY if v in seen and v not in (Verdict.PASS, Verdict.SKIP)]
    if bad:
        return bad[-1]
    return Verdict.PASS if Verdict.PASS in seen else Verdict.SKIP
