# SPDX-License-Identifier: GPL-2.0-or-later
"""The run as JUnit XML, made from ``run.json``: one test case with one result for each cell."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from junitparser import Error, Failure, JUnitXml, Properties, Property, Skipped, TestCase, TestSuite

from harness.core.records import Verdict
from harness.core.text import printable
from harness.report.tables import headline
from harness.run.record import RunRecord, TestResult

JUNIT_XML = "junit.xml"
NAME = "evtchn-harness"
# GitLab reads JUnit files of at most 30 MB; so many bytes of consoles leave room for the rest.
EVIDENCE_BYTES = 20 << 20


def write_junit(run_dir: Path, record: RunRecord) -> Path:
    """Write a run's ``junit.xml``.

    Returns:
        Its path in the run folder.

    Raises:
        OSError: it cannot be written.
    """
    suite = TestSuite(NAME)
    suite.timestamp = record.started
    for name, value in (
        ("verdict", record.verdict),
        ("accelerator", record.accelerator.reason if record.accelerator else ""),
        *((source.name, f"{source.version} from {source.origin}") for source in record.sources),
        ("reproduce", record.reproduce),
    ):
        suite.add_property(name, printable(str(value or "")))
    red = sum(test.verdict not in (Verdict.PASS, Verdict.SKIP) for test in record.tests)
    most = EVIDENCE_BYTES // max(1, red)
    suite.add_testcases([_case(record, test, most=most) for test in record.tests])
    missing = record.planned - sum(test.verdict is not None for test in record.tests)
    if record.error is not None or record.state != "finished" or missing > 0:
        # Cells that did not run have no case, so a reader of this file alone must see that some are missing.
        case = TestCase(name="the run itself", classname=NAME, time=0)
        kind = record.error.kind if record.error else record.state
        case.result = Error(message=printable(headline(record)), type_=kind)
        suite.add_testcase(case)
    document = JUnitXml(NAME)
    document.add_testsuite(suite)
    document.update_statistics()
    path = run_dir / JUNIT_XML
    fresh = path.with_suffix(".xml.new")
    document.write(str(fresh), pretty=True)
    fresh.replace(path)
    return path


def _case(record: RunRecord, test: TestResult, *, most: int) -> TestCase:
    """One case; of its console only the end, which takes at most ``most`` bytes of XML."""
    case = TestCase(name=printable(test.cell), classname=test.suite, time=test.seconds)
    measured = Properties()
    for name, value in _measured(record, test):
        measured.add_property(Property(printable(name), printable(value)))
    case.append(measured)
    why = printable(test.reason)
    whose = f" ({test.layer})" if test.layer else ""
    if test.verdict is None:
        case.result = Error(message=why or "it did not end", type_="unfinished")
    elif test.quarantine:
        case.result = Skipped(
            message=f"{test.verdict}{whose}: {why} ({printable(test.quarantine)})", type_="quarantine"
        )
    elif test.verdict is Verdict.SKIP:
        case.result = Skipped(message=why, type_="skip")
    elif test.verdict is Verdict.ERROR:
        case.result = Error(message=why, type_="error")
    elif test.verdict is not Verdict.PASS:
        case.result = Failure(message=f"{test.verdict}{whose}: {why}", type_=str(test.verdict))
    if test.verdict not in (Verdict.PASS, Verdict.SKIP):
        said = printable(test.evidence)
        shown = _end(said, most)
        cut = f"[the first {len(said) - len(shown)} characters are cut off]\n" if shown != said else ""
        case.system_out = f"{cut}{shown}\n\nagain: {printable(test.reproduce)}"
    return case


def _end(text: str, most: int) -> str:
    """The end of a text that takes at most ``most`` bytes of XML."""
    length = min(len(text), most)
    while length and (size := len(escape(text[-length:]).encode())) > most:
        length = length * most // size
    return text[len(text) - length :]


def _measured(record: RunRecord, test: TestResult) -> list[tuple[str, str]]:
    """What a cell measured: its metrics, and its rows of the limits table."""
    found = [(name, str(value)) for name, value in test.metrics.items()]
    rows = [row for row in record.rows if row.test == test.cell]
    for number, row in enumerate(rows, 1):
        values = {name: getattr(row, name) for name in row.__struct_fields__ if name != "test"}
        found += [(f"row{number}.{name}", str(v)) for name, v in values.items() if v not in (None, "")]
    return found
