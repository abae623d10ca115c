# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit from a record: one case with one result for each cell, and valid XML whatever a guest has printed."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.core.records import Verdict
from harness.report.junit import write_junit
from harness.run.record import ErrorRecord, Row, RunRecord, TestResult

NASTY = "\x1b[31mred\x00 <b> & ]]> \ud800\ufffe"


def result(number: int, verdict: Verdict | None, **words: object) -> TestResult:
    return TestResult(
        cell=f"base/release/3l/pv64/limits::test_{number}#1", test=f"test_{number}", suite="limits",
        guest="pv64", abi="3l", verdict=verdict, seconds=1.5, reproduce="evh repro x", **words,
    )  # type: ignore[arg-type]  # fmt: skip


def written(folder: Path, *tests: TestResult, **words: object) -> ET.Element:
    record = RunRecord(
        id="r", command=["evh"], reproduce="evh run", started="2026-01-01T00:00:00+00:00",
        tests=list(tests), **({"state": "finished"} | words),
    )  # type: ignore[arg-type]  # fmt: skip
    return ET.parse(write_junit(folder, record)).getroot()


@pytest.mark.parametrize(
    ("verdict", "tag", "kind"),
    [
        (Verdict.FAIL, "failure", "fail"),
        (Verdict.HANG, "failure", "hang"),
        (Verdict.CRASH, "failure", "crash"),
        (Verdict.ERROR, "error", "error"),
        (Verdict.SKIP, "skipped", "skip"),
        (None, "error", "unfinished"),
    ],
)
def test_each_cell_has_one_result(tmp_path: Path, verdict: Verdict | None, tag: str, kind: str) -> None:
    root = written(tmp_path, result(1, verdict, reason="why", layer="dom0", evidence="last lines"))
    (case,) = root.iter("testcase")
    outcome = [child for child in case if child.tag not in ("properties", "system-out")]
    assert [(child.tag, child.attrib["type"]) for child in outcome] == [(tag, kind)]
    assert "why" in outcome[0].attrib["message"]
    assert case.attrib["classname"] == "limits" and case.attrib["name"].endswith("limits::test_1#1")
    assert (case.find("system-out") is not None) == (verdict is not Verdict.SKIP)


def test_a_pass_has_no_result_and_the_sums_are_right(tmp_path: Path) -> None:
    verdicts = [Verdict.PASS, Verdict.CRASH, Verdict.ERROR, Verdict.SKIP]
    root = written(tmp_path, *(result(number, verdict) for number, verdict in enumerate(verdicts)))
    sums = {name: root.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert sums == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    first = next(root.iter("testcase"))
    assert [child.tag for child in first] == ["properties"]
    assert len({case.attrib["name"] for case in root.iter("testcase")}) == 4, "names are unique"


def test_rows_and_metrics_are_properties_of_their_case(tmp_path: Path) -> None:
    test = result(1, Verdict.PASS, metrics={"p99 us": 12})
    row = Row(test=test.cell, abi="3l", guest="pv64", path="irq", opened=3, sent=3, seen=3, lost=0,
              duplicated=0, seconds=0.5)  # fmt: skip
    root = written(tmp_path, test, rows=[row])
    (case,) = root.iter("testcase")
    found = {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
    assert (found["row1.opened"], found["p99 us"]) == ("3", "12")
    assert "None" not in found.values() and "row1.note" not in found


def test_a_run_that_failed_itself_is_not_green(tmp_path: Path) -> None:
    root = written(tmp_path, error=ErrorRecord(kind="UserError", message="no such patch"), state="failed")
    (case,) = root.iter("testcase")
    assert case.find("error").attrib["message"] == "no such patch"  # type: ignore[union-attr]


def test_what_a_guest_prints_cannot_break_the_file(tmp_path: Path) -> None:
    test = result(1, Verdict.FAIL, reason=NASTY, evidence=NASTY, metrics={NASTY: 1})
    root = written(tmp_path, test)
    said = root.find(".//system-out")
    assert said is not None and said.text is not None and "<b> & ]]>" in said.text and "\x1b" not in said.text


def test_a_run_that_was_killed_or_lacks_cells_is_not_green(tmp_path: Path) -> None:
    for words in ({"state": "killed"}, {"state": "finished", "planned": 2}):
        root = written(tmp_path, result(1, Verdict.PASS), **words)
        assert root.attrib["errors"] == "1", words
    assert written(tmp_path, result(1, Verdict.PASS), state="finished", planned=1).attrib["errors"] == "0"


def test_consoles_are_cut_so_that_gitlab_reads_the_file(tmp_path: Path) -> None:
    """GitLab takes no JUnit file of more than 30 MB."""
    each = [result(n, Verdict.FAIL) for n in range(600)]
    for one in each:
        one.evidence = "first\n" + "é" * 200_000 + "\nlast"
    written(tmp_path, *each)
    assert 1 << 20 < (tmp_path / "junit.xml").stat().st_size < 30_000_000
    text = (tmp_path / "junit.xml").read_text()
    assert text.count("characters are cut off]") == 600 and "\nlast" in text and "first\n" not in text
