# SPDX-License-Identifier: GPL-2.0-or-later
"""Classifies the exceptions that end a test; ``run.judge`` makes verdicts of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness.core.errors import EvhError
from harness.core.records import Verdict
from harness.run.judge import EXIT_CODES, Ending


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
    line = " ".join(lines) if isinstance(error, EvhError) else "".join(lines[:1])
    return line[:300] or type(error).__name__
