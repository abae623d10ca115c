# SPDX-License-Identifier: GPL-2.0-or-later
"""Text report and HTML page of a recorded run."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from harness.core.records import Verdict
from harness.core.text import ESCAPES
from harness.report.html import CONSOLE_LINES, write_html
from harness.report.tables import folded, metric_cells, schedules_line, time_split
from harness.report.text import print_report
from harness.run.record import (
    AcceleratorRecord,
    ArtifactRecord,
    BootRecord,
    ConsoleRecord,
    CoverageRecord,
    ErrorRecord,
    MachineRecord,
    Row,
    RunRecord,
    SourceRecord,
    StepRecord,
    TestResult,
)

NASTY = "<script>alert(1)</script> & \x1b[31mred\x1b[0m\x1b[2J \x00\x07 end"


def recorded() -> RunRecord:
    """A record as ``evh run`` writes it, with a pass, a crash and a skip."""
    base = "xen-4.20+linux-6.12/release"
    tests = [
        TestResult(
            cell=f"{base}/dom0/3l/limits::test_raw/1",
            test="test_raw",
            suite="limits",
            guest="dom0",
            abi="3l",
            verdict=Verdict.PASS,
            seconds=12.5,
            machine=1,
        ),
        TestResult(
            cell=f"{base}/pv64/3l/limits::test_crash[a]/1",
            test="test_crash[a]",
            suite="limits",
            guest="pv64",
            abi="3l",
            verdict=Verdict.CRASH,
            layer="xen",
            reason="(XEN) Panic on CPU 0: [red]",
            seconds=3,
            machine=1,
            evidence=NASTY,
            reproduce="evh run --cell 'a[b]'",
        ),
        TestResult(
            cell=f"{base}/pv64/2l/limits::test_skip/1",
            test="test_skip",
            suite="limits",
            guest="pv64",
            abi="2l",
            verdict=Verdict.SKIP,
            reason="needs 8 GiB",
        ),
    ]
    rows = [
        Row(
            abi="3l",
            guest="dom0",
            path="raw",
            opened=524287,
            sent=524287,
            seen=524287,
            lost=0,
            duplicated=0,
            seconds=11.25,
            guest_bytes_per_port=0.5,
            xen_bytes_per_port=64.9,
        ),
        Row(
            abi="fifo",
            guest="pv64",
            path="irq",
            opened=131071,
            sent=131071,
            seen=131070,
            lost=1,
            duplicated=0,
            seconds=400,
            note="with a note",
        ),
    ]
    return RunRecord(
        id="20260101-120000-abcd",
        command=["evh", "run", "--suite", "limits"],
        reproduce="evh run --suite limits",
        started="2026-01-01T12:00:00.000+00:00",
        state="finished",
        seconds=100.0,
        verdict=Verdict.CRASH,
        exit_code=3,
        accelerator=AcceleratorRecord(kind="tcg", reason="TCG: no /dev/kvm"),
        host={"cpus": "2", "qemu": ""},
        harness={"version": "0.1"},
        plan={"suite": "limits"},
        sources=[
            SourceRecord(
                name="xen",
                version="4.20.3",
                origin="apt:trixie:4.20.3-1",
                sha256="f" * 64,
                note="newer than asked",
            )
        ],
        artifacts=[
            ArtifactRecord(name="xen", key="a" * 32, hit=True),
            ArtifactRecord(name="kernel", key="b" * 32, hit=False),
        ],
        machines=[
            MachineRecord(number=1, abi="3l", memory_mib=8192, dom0_mib=6144, vcpus=2, boot_seconds=9.6)
        ],
        planned=3,
        tests=tests,
        rows=rows,
        timings=[
            StepRecord(step="build", seconds=60),
            StepRecord(step="boot machine 1", seconds=9.9),
            StepRecord(step="test limits::a", seconds=10),
            StepRecord(step="test limits::b", seconds=5),
        ],
        consoles=[ConsoleRecord(layer="xen", file="machine-1/console-xen.log", bytes=9, machine=1)],
    )


class Page(HTMLParser):
    """Tags and text of the page, as a browser parses them."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "machine-1").mkdir()
    (tmp_path / "machine-1" / "console-xen.log").write_bytes(
        b"line 0\r\n" * 1000 + NASTY.encode() + b"\xff\xfe\r\n"
    )
    path = write_html(tmp_path, recorded())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["report.html"], (
        "the temporary file is gone"
    )
    return Page(path.read_text())


def test_page_is_well_formed_and_self_contained(page: Page) -> None:
    assert page.open == []
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "img", "iframe", "object"}]
    assert not [attrs for _, attrs in page.tags if attrs.keys() & {"src", "href", "onclick", "onerror"}]
    style = re.findall(r"url\(|@import", page.text)
    assert not style


def test_page_shows_consoles_escaped_and_cut(page: Page) -> None:
    assert "<script>alert(1)</script> & red \ufffd\ufffd end" in page.text
    assert page.text.count("line 0") == CONSOLE_LINES - 1
    assert "\x1b" not in page.text and "\x00" not in page.text


def test_page_contains_results_sources_and_machines(page: Page) -> None:
    for words in (
        "crash (xen)",
        "no /dev/kvm",
        "524,287",
        "f" * 64,
        "newer than asked",
        "8,192 MiB",
        "answered over SSH after 9.6 s",
        "evh run --suite limits",
        "evh run --cell 'a[b]'",
        "needs 8 GiB",
        "exit code 3",
        "1 pass",
        "1 crash",
        "1 skip",
    ):
        assert words in page.text, words


def test_lost_event_stands_out(page: Page) -> None:
    bad = [attrs for tag, attrs in page.tags if tag == "td" and "bad" in (attrs.get("class") or "").split()]
    assert len(bad) == 1, "only the lost event is highlighted, not the zeros"


@pytest.mark.parametrize("state", ["running", "killed", "interrupted", "failed"])
def test_unfinished_run_has_a_page_too(tmp_path: Path, state: str) -> None:
    record = RunRecord(
        id="x",
        command=["evh", "run"],
        reproduce="evh run",
        started="2026-01-01T12:00:00+00:00",
        state=state,
        doing="build linux",
    )
    if state in ("failed", "interrupted"):
        record.error = ErrorRecord(kind="InfraError", message="no space left", hint="evh clean")
        record.verdict = Verdict.ERROR
    page = Page(write_html(tmp_path, record).read_text())
    assert ("build linux" in page.text) or ("no space left" in page.text)


def printed(record: RunRecord, folder: Path) -> str:
    out = io.StringIO()
    print_report(folder, record, file=out)
    return out.getvalue()


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


def test_time_adds_up_to_the_whole() -> None:
    assert sum(s.share for s in time_split(recorded())) == pytest.approx(1)


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


def seeded(seed: int, verdict: Verdict = Verdict.PASS, boot: int = 1, **words: object) -> TestResult:
    return TestResult(
        cell=f"b/release/bare-pv64/3l/race::t/{seed}", test="t", suite="race", guest="bare-pv64", abi="3l",
        verdict=verdict, seed=seed, boot=boot, seconds=1.0, **words,
    )  # type: ignore[arg-type] # fmt: skip


def boot(number: int, seconds: float, *, deterministic: bool = True) -> BootRecord:
    return BootRecord(
        number=number, kind="bare-pv64", args="", seed=number, deterministic=deterministic, vcpus=2,
        memory_mib=1024, xen_args="", verdict=Verdict.PASS, reason="", seconds=seconds, console="c",
    )  # fmt: skip


def test_passes_of_many_seeds_are_one_line_and_failures_are_not() -> None:
    tests = [seeded(1), seeded(2), seeded(3, Verdict.FAIL), seeded(4)]
    lines = folded(tests)
    assert [(t.verdict, said, seconds) for t, said, seconds in lines] == [
        (Verdict.PASS, ", seeds 1-2,4", 3.0),
        (Verdict.FAIL, ", seed 3", 1.0),
    ]
    assert folded([seeded(1)])[0][1] == ""


def test_schedules_a_minute_count_each_deterministic_boot_once(tmp_path: Path) -> None:
    record = recorded()
    record.boots = [boot(1, 20.0), boot(2, 10.0), boot(3, 50.0, deterministic=False)]
    record.tests = [
        seeded(1, boot=1, metrics={"rounds": 1000}),
        seeded(1, boot=1, metrics={"rounds": 1000, "cost": 77}),
        seeded(2, boot=2, metrics={"rounds": 1000}),
        seeded(3, boot=3, metrics={"rounds": 9}),
    ]
    assert schedules_line(record) == "schedules: 3,000 explored in 30.0 s of 2 boots, 6,000 a minute"
    assert metric_cells(record) == [("race::t", "bare-pv64", "cost", "77")]
    assert schedules_line(recorded()) == ""


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
