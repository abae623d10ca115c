# SPDX-License-Identifier: GPL-2.0-or-later
"""The text report of a recorded run."""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
import pytest
from fakes import poisoned, recorded

from harness.core.records import Verdict
from harness.core.text import ESCAPES
from harness.report.html import write_html
from harness.report.text import print_report
from harness.run.record import (
    CoverageRecord,
    RunRecord,
    WishRecord,
)


def printed(record: RunRecord, folder: Path) -> str:
    out = io.StringIO()
    print_report(folder, record, file=out)
    return out.getvalue()


def test_wishes_that_a_tree_does_not_fulfil_are_told(tmp_path: Path) -> None:
    record = recorded()
    assert "goes without" not in printed(record, tmp_path)
    record.wishes = [
        WishRecord(kernel="linux", symbol="CONFIG_A", value="y", place="a.config:1", why="no such symbol")
    ]
    line = "linux goes without CONFIG_A=y, which a.config:1 wants: no such symbol"
    assert line in printed(record, tmp_path)
    assert line in write_html(tmp_path, record).read_text()


def test_plain_tables_without_a_terminal(tmp_path: Path) -> None:
    text = printed(recorded(), tmp_path)
    assert "\x1b" not in text and text.isascii()
    lines = text.splitlines()
    assert lines[0] == "accelerator: TCG: no /dev/kvm"
    head = next(line for line in lines if line.startswith("ABI"))
    for word in (
        "guest",
        "path",
        "ports opened",
        "sent",
        "seen",
        "lost",
        "duplicated",
        "seconds",
        "guest B/port",
        "Xen B/port",
    ):
        assert word in head
    row = next(line for line in lines if line.startswith("3l "))
    assert re.sub(r" +", " ", row).strip() == "3l dom0 raw 524,287 524,287 524,287 0 0 11.2 0.5 64.9"
    assert any(line.startswith("crash (xen)") and "[red]" in line for line in lines), (
        "brackets are printed as text, not taken as markup"
    )
    assert "again: evh run --cell 'a[b]'" in lines


def test_last_line_has_the_time_split_and_the_path_of_the_page(tmp_path: Path) -> None:
    last = printed(recorded(), tmp_path).splitlines()[-1]
    split = "build 1 min 00 s, everything else 15.1 s, tests 15.0 s, boot machines 9.9 s"
    assert last == f"time: 1 min 40 s ({split}); report: {tmp_path}/report.html"


def test_report_of_a_run_without_tests(tmp_path: Path) -> None:
    record = msgspec.structs.replace(recorded(), tests=[], rows=[], verdict=Verdict.SKIP, exit_code=6)
    assert "skip: no test matched" in printed(record, tmp_path)


def test_limits_table_fits_a_terminal_of_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    print_report(tmp_path, recorded(), file=out)
    lines = [ESCAPES.sub("", line) for line in out.getvalue().splitlines()]
    row = next(line for line in lines if line.startswith("3l "))
    assert row.split() == [
        "3l",
        "dom0",
        "raw",
        "524,287",
        "524,287",
        "524,287",
        "0",
        "0",
        "11.2",
        "0.5",
        "64.9",
    ]
    assert len(row.rstrip()) <= 80


def test_notes_and_paths_are_explained_below_the_table(tmp_path: Path) -> None:
    lines = printed(recorded(), tmp_path).splitlines()
    assert "fifo pv64 irq: with a note" in lines
    assert any(line.startswith("raw: ports opened by hypercalls") for line in lines)


def test_coverage_and_notes_are_reported(tmp_path: Path) -> None:
    record = recorded()
    record.coverage = [
        CoverageRecord(file="common/event_3l.c", what="all", lines=200, covered=191, uncovered=[7, 8])
    ]
    record.notes = ["the console is bit-identical with X"]
    (tmp_path / "coverage.txt").write_text("common/event_3l.c:7: return <x>;\n")
    out = io.StringIO()
    print_report(tmp_path, record, file=out)
    assert re.search(r"common/event_3l.c +all +200 +191 +95\.5 %", out.getvalue())
    assert "bit-identical with X" in out.getvalue()
    page = write_html(tmp_path, record).read_text()
    assert "95.5 %" in page and "event_3l.c:7: return &lt;x&gt;;" in page and "bit-identical with X" in page


@pytest.mark.parametrize("columns", [40, 60, 76, 80, 99, 100, 107, 120])
def test_no_terminal_cuts_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    print_report(tmp_path, recorded(), file=out)
    lines = [ESCAPES.sub("", line) for line in out.getvalue().splitlines()]
    row = next(line for line in lines if line.startswith("3l "))
    assert row.split()[3:] == ["524,287", "524,287", "524,287", "0", "0", "11.2", "0.5", "64.9"]


def test_no_text_of_a_run_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    text = printed(poisoned(), tmp_path)
    assert not {"\x1b", "\x07", "\x9b", "\x00", "\u202e"} & set(text)
    assert "hostile" not in text
