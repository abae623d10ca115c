# SPDX-License-Identifier: GPL-2.0-or-later
"""Quarantine: flaky cells that may be red for a time without making the run red.

Their verdicts stay as they are, and every report shows them with the reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from harness.core.records import Verdict
from harness.monitor.knownissues import Quarantine
from harness.run.record import RunRecord, TestResult, is_deterministic

# A layer that broke down is worse than flaky, and an error is not the cell's.
MAY = (Verdict.FAIL, Verdict.HANG)


def put_in_quarantine(
    record: RunRecord, entries: Sequence[Quarantine], *, today: datetime.date | None = None
) -> list[str]:
    """Mark the red tests of a run that are in quarantine.

    Args:
        today: expires entries.

    Returns:
        What the owner of the file should look at.
    """
    today = today or datetime.date.today()
    said = []
    for entry in entries:
        tests = [test for test in record.tests if entry.matches(test.cell)]
        red = [test for test in tests if test.verdict in MAY]
        what = f"quarantine of {entry.cell}"
        if not tests:
            said.append(f"{what} matched no cell of this run")
        elif entry.until < today:
            seen = f", and {len(red)} cells are red" if red else ""
            said.append(f"{what} expired on {entry.until}{seen}")
            continue
        for test in red:
            if is_deterministic(record, test):
                said.append(f"{what} does not count for {test.cell}, which is deterministic")
            else:
                link = f" ({entry.link})" if entry.link else ""
                test.quarantine = f"in quarantine until {entry.until}: {entry.why}{link}"
    return said


def counted(tests: Sequence[TestResult]) -> list[Verdict]:
    """The verdicts that make a run's. A test without one was abandoned by pytest."""
    return [test.verdict or Verdict.ERROR for test in tests if not test.quarantine]
