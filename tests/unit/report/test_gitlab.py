# SPDX-License-Identifier: GPL-2.0-or-later
"""Code quality and metrics reports."""

from __future__ import annotations

import json
import re

from fakes import recorded

from harness.core.paths import CHECKOUT
from harness.core.records import Verdict
from harness.report.gitlab import code_quality, metrics
from harness.run.record import ErrorRecord


def test_finding_has_what_gitlab_asks_for() -> None:
    (found,) = json.loads(code_quality(recorded()))
    assert set(found) == {"description", "check_name", "fingerprint", "severity", "location"}
    assert found["severity"] == "blocker" and found["description"].startswith("crash: ")
    assert (CHECKOUT / found["location"]["path"]).is_file()
    assert found["location"]["path"] == "tests/suites/test_limits.py"
    assert found["location"]["lines"]["begin"] == 1


def test_fingerprint_is_that_of_the_cell_and_its_severity() -> None:
    one, two = recorded(), recorded()
    two.tests[1].reason = "something else"
    two.tests[1].evidence = ""
    prints = [json.loads(code_quality(record))[0]["fingerprint"] for record in (one, two)]
    assert prints[0] == prints[1]
    two.tests[1].verdict = Verdict.HANG
    assert json.loads(code_quality(two))[0]["fingerprint"] != prints[0]


def test_error_of_the_run_and_quarantine() -> None:
    record = recorded()
    record.error = ErrorRecord(kind="X", message="no space")
    record.tests[1].quarantine = "until later"
    found = json.loads(code_quality(record))
    assert [one["severity"] for one in found] == ["info", "critical"]


def test_metrics_are_openmetrics() -> None:
    record = recorded()
    record.tests[0].metrics = {"p99 us": 12, "send/3l": 40411}
    record.rows[0] = type(record.rows[0])(
        test=record.tests[0].cell, abi="3l", guest="dom0", path="raw", opened=1, sent=1, seen=1, lost=0,
        duplicated=0, seconds=1, xen_bytes_per_port=64.1,
    )  # fmt: skip
    lines = metrics(record).splitlines()
    sample = re.compile(r'[a-z_][a-z0-9_]*(\{[a-z]+="([^"\\]|\\.)*"\})? -?[0-9.e+]+')
    assert all(sample.fullmatch(line) for line in lines), lines
    cell = record.tests[0].cell
    assert f'evh_p99_us{{cell="{cell}"}} 12' in lines and f'evh_send_3l{{cell="{cell}"}} 40411' in lines
    assert f'evh_raw_xen_bytes_per_port{{cell="{cell}"}} 64.1' in lines
    assert 'evh_cells{verdict="pass"} 1' in lines
    assert len(lines) == len(set(lines))
