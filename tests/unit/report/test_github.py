# SPDX-License-Identifier: GPL-2.0-or-later
"""Step summaries and annotations, within GitHub's limits."""

from __future__ import annotations

import re

from fakes import NASTY, recorded

from harness.core.records import Verdict
from harness.report.github import ANNOTATIONS, SUMMARY_BYTES, summary, workflow_commands
from harness.run.record import ErrorRecord, RunRecord, TestResult


def red(count: int, *, evidence: str = "line\n") -> RunRecord:
    record = recorded()
    record.tests = [
        TestResult(
            cell=f"b/r/pv64/3l/s::test_{n}/1", test=f"test_{n}", suite="s", guest="pv64", abi="3l",
            verdict=Verdict.FAIL, reason="50 % lost, why: no idea\nsecond", evidence=evidence,
        )
        for n in range(count)
    ]  # fmt: skip
    return record


def test_summary_has_what_is_red_and_its_console() -> None:
    said = summary(recorded())
    assert said.startswith("## crash: ")
    assert "limits::test&#95;crash&#91;a&#93;" in said and "| crash |" in said
    assert "test_raw" not in said
    fenced = said.split("````")[1]
    assert "<script>" in fenced and "<script>" not in said.replace(fenced, "") and "\x1b" not in said


def test_summary_is_never_dropped_for_its_size() -> None:
    """A million lines of console, and as many red cells as a broken Xen makes."""
    for record in (red(2000, evidence="é" * 3000 + "\n"), red(30_000, evidence="")):
        said = summary(record)
        assert 0.9 * SUMMARY_BYTES < len(said.encode()) <= SUMMARY_BYTES
        assert re.search(r"\d+ more (lines|consoles) are in the report", said)
    assert "more" not in summary(red(3))


def test_console_cannot_end_its_fence() -> None:
    said = summary(red(1, evidence="````\n# big\n" + NASTY))
    assert said.count("````") == 2


def test_at_most_ten_annotations_of_a_kind() -> None:
    for count in (1, ANNOTATIONS, ANNOTATIONS + 1, 500):
        lines = workflow_commands(red(count)).splitlines()
        assert len(lines) == min(count, ANNOTATIONS)
    assert lines[-1].startswith("::error title=491 more::")


def test_annotations_are_escaped() -> None:
    (line,) = workflow_commands(red(1)).splitlines()
    assert line == "::error title=b/r/pv64/3l/s%3A%3Atest_0/1::fail: 50 %25 lost, why: no idea%0Asecond"


def test_run_that_did_not_end_and_what_is_held_back() -> None:
    record = red(2)
    record.tests[0].quarantine = "in quarantine until 2027-01-01: x"
    record.tests[1].flaky = True
    record.state, record.error = "failed", ErrorRecord(kind="X", message="no space")
    kinds = [line.split(" ")[0] for line in workflow_commands(record).splitlines()]
    assert kinds == ["::error", "::error", "::warning", "::warning"]
    assert "no space" in summary(record)
