# SPDX-License-Identifier: GPL-2.0-or-later
"""What GitLab reads of a run: the code quality report, and the metrics report."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from harness.core.paths import CHECKOUT, SUITES
from harness.core.records import Verdict
from harness.core.text import printable
from harness.report.tables import headline, why
from harness.run.record import RunRecord, TestResult

# GitLab's severities, by verdict.
SEVERITIES = {
    Verdict.FAIL: "major",
    Verdict.HANG: "critical",
    Verdict.CRASH: "blocker",
    Verdict.ERROR: "critical",
}


def code_quality(record: RunRecord) -> str:
    """The code quality report: one finding for each red cell.

    Its fingerprint is the cell and the verdict, so that a merge request shows what is new in it.
    """
    found = [
        _finding(test.cell, f"{_verdict(test)}: {test.cell}: {why(test)}", _severity(test), test.suite)
        for test in record.tests
        if test.verdict not in (Verdict.PASS, Verdict.SKIP)
    ]
    if record.error is not None or record.state != "finished":
        found.append(_finding("the run itself", headline(record), "critical", ""))
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"


def _verdict(test: TestResult) -> str:
    return str(test.verdict or "unfinished")


def _severity(test: TestResult) -> str:
    if test.quarantine:
        return "info"
    return SEVERITIES.get(test.verdict or Verdict.ERROR, "critical")


def _finding(what: str, text: str, severity: str, suite: str) -> dict[str, Any]:
    file = SUITES / f"test_{suite}.py"
    # GitLab wants a path in the repository; that of a user's own test file is not known here.
    path = str(file.relative_to(CHECKOUT)) if suite and file.exists() else "README.md"
    return {
        "description": printable(text)[:1000],
        "check_name": suite or "run",
        "fingerprint": hashlib.sha256(f"{what} {severity}".encode()).hexdigest(),
        "severity": severity,
        "location": {"path": Path(path).as_posix(), "lines": {"begin": 1}},
    }


def metrics(record: RunRecord) -> str:
    """The metrics report, as OpenMetrics text: counts of verdicts, the time, each cell's metrics."""
    lines = [
        f'evh_cells{{verdict="{verdict}"}} {sum(test.verdict is verdict for test in record.tests)}'
        for verdict in Verdict
    ]
    lines.append(f"evh_run_seconds {record.seconds:g}")
    for test in record.tests:
        lines += [_sample(name, test.cell, value) for name, value in test.metrics.items()]
    for row in record.rows:
        for name, value in (("guest", row.guest_bytes_per_port), ("xen", row.xen_bytes_per_port)):
            if value is not None:
                lines.append(_sample(f"{row.path} {name} bytes per port", row.test, value))
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _sample(name: str, cell: str, value: float) -> str:
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    label = printable(cell).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    said = f"{value:.0f}" if value == int(value) else f"{value:g}"
    return f'evh_{word}{{cell="{label}"}} {said}'
