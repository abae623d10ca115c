# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found, for people: tables on the terminal, one HTML page.

Both are made from ``run.json`` and the console files beside it alone, so a
run can be reported again at any time, on any machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import jinja2
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.model import Verdict
from harness.plan import show_seeds
from harness.pool import tail
from harness.record import RunRecord, TestResult

REPORT_HTML = "report.html"
CONSOLE_LINES = 400
# ECMA-48: control sequences, and the two-byte escapes.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")

COLOURS = {
    Verdict.PASS: "bold green",
    Verdict.SKIP: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.HANG: "bold magenta",
    Verdict.CRASH: "bold red reverse",
    Verdict.ERROR: "bold red",
}

MEANING = {
    Verdict.PASS: "every selected cell did what it should",
    Verdict.SKIP: "nothing was run to its end, so nothing was shown",
    Verdict.FAIL: "something answered, and the answer is wrong",
    Verdict.HANG: "no answer within the deadline",
    Verdict.CRASH: "a layer broke down: see whose below",
    Verdict.ERROR: "the harness or this host failed, not what was tested",
}

LIMITS_HEAD = (
    ("ABI", "event-channel ABI the guest used: 2l, fifo or 3l"),
    ("guest", "dom0 (PV), or a guest that dom0 started"),
    ("path", "how ports were opened and events received"),
    ("ports opened", "open at the same time"),
    ("sent", "events sent"),
    ("seen", "events counted by the receiver"),
    ("lost", "sent and never seen"),
    ("doubled", "seen more than once for one send"),
    ("seconds", "to open, send and receive"),
    ("guest B/port", "guest memory in bytes for each open port"),
    ("Xen B/port", "Xen memory in bytes for each open port"),
    ("note", ""),
)
# What tests/suites mean by a path.
PATHS = {
    "raw": "ports opened by hypercalls alone, events read from the pending bitmap",
    "load": "one event under way on each port, to and fro, while something happens; both ends count",
    "irq": "each port has an interrupt in Linux, events counted by its handler",
}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Part of a run's time."""

    name: str
    seconds: float
    share: float  # of the whole, 0 to 1


def count(number: float | None) -> str:
    """A count with thousands separated; ``-`` for what was not measured."""
    return "-" if number is None else f"{number:,.0f}"


def per_port(number: float | None) -> str:
    """Bytes for each port; small figures with a decimal."""
    return f"{number:.1f}" if number is not None and abs(number) < 100 else count(number)


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``7.3 s``, ``4 min 12 s``."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def limits_cells(record: RunRecord) -> list[tuple[str, ...]]:
    """The limits table as text, in the order of ``LIMITS_HEAD``."""
    return [
        (
            row.abi,
            row.guest,
            row.path,
            count(row.opened),
            count(row.sent),
            count(row.seen),
            count(row.lost),
            count(row.doubled),
            f"{row.seconds:,.1f}",
            per_port(row.guest_bytes_per_port),
            per_port(row.xen_bytes_per_port),
            row.note,
        )
        for row in record.rows
    ]


# Steps that there may be many of, taken together under one name.
TOGETHER = (("test", "tests"), ("start guest ", "start guests"), ("boot machine ", "boot machines"))


def time_split(record: RunRecord) -> list[Slice]:
    """Where the time went, the largest part first."""
    parts: dict[str, float] = {}
    for step in record.timings:
        name = next((name for prefix, name in TOGETHER if step.step.startswith(prefix)), step.step)
        parts[name] = parts.get(name, 0.0) + step.seconds
    total = max(record.seconds, sum(parts.values()), 1e-9)
    parts["everything else"] = total - sum(parts.values())
    slices = [
        Slice(name=name, seconds=seconds, share=seconds / total)
        for name, seconds in parts.items()
        if seconds >= 0.05
    ]
    return sorted(slices, key=lambda part: -part.seconds)


def headline(record: RunRecord) -> str:
    """One sentence on how the run ended."""
    if record.state == "running":
        return f"still running: {record.doing or 'starting'}"
    if record.state == "killed":
        begun = f"{len(record.tests)} of {record.planned} tests were begun"
        return f"killed while: {record.doing or 'starting'}; {begun}"
    if record.state == "interrupted":
        done = sum(test.verdict is not None for test in record.tests)
        why = record.error.message if record.error else "interrupted"
        return f"interrupted by {why}; {done} of {record.planned} tests were done"
    if record.error is not None:
        return record.error.message
    counts = {v: sum(test.verdict is v for test in record.tests) for v in Verdict}
    if not record.tests:
        return "no test matched what was asked for, so nothing was run"
    parts = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    return f"{parts}: {MEANING[record.verdict or Verdict.ERROR]}"


def print_report(run_dir: Path, record: RunRecord, *, file: TextIO) -> None:
    """The tables, on a terminal in colour, elsewhere as plain text.

    Args:
        file: where to; its ``isatty`` decides.
    """
    # Off a terminal rich would fold at 80 columns, and a folded table is hard to read and to grep.
    console = (
        Console(file=file, highlight=False)
        if file.isatty()
        else Console(file=file, width=220, no_color=True, highlight=False)
    )
    style = box.SIMPLE_HEAD if file.isatty() else None
    if record.accelerator:
        console.print(f"accelerator: {record.accelerator.reason}", markup=False)
    for source in record.sources:
        note = f" ({source.note})" if source.note else ""
        console.print(f"{source.name} {source.version} from {source.origin}{note}", markup=False)
    if record.tests:
        console.print()
        console.print(_verdict_table(record, style))
    if schedules := schedules_line(record):
        console.print()
        console.print(schedules, markup=False)
    if figures := figure_cells(record):
        console.print()
        console.print(_plain_table(("test", "guest", "figure", "value"), figures, style))
    if record.coverage:
        console.print()
        console.print(_plain_table(COVERAGE_HEAD, coverage_cells(record), style))
        console.print(f"uncovered lines: {relative(run_dir / COVERAGE_TXT)}", markup=False, soft_wrap=True)
    if record.rows:
        console.print()
        console.print(_limits_table(record, style, narrow=console.width < 100))
        console.print()
        for line in legend(record):
            console.print(line, markup=False, style="dim")
    console.print()
    for test in record.tests:
        if test.verdict not in (Verdict.PASS, Verdict.SKIP, None):
            console.print(f"again: {test.reproduce}", markup=False, soft_wrap=True)
    verdict = record.verdict or "running"
    console.print(
        Text.assemble(
            (str(verdict), COLOURS.get(record.verdict or Verdict.ERROR, "")),
            f": {headline(record)}",
        ),
        soft_wrap=True,
    )
    if record.error and record.error.hint:
        console.print(f"hint: {record.error.hint}", markup=False, soft_wrap=True)
    for note in record.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(last_line(run_dir, record), markup=False, soft_wrap=True)


def last_line(run_dir: Path, record: RunRecord) -> str:
    """Where the time went and where the page is."""
    largest = time_split(record)[:5]
    split = ", ".join(f"{s.name} {duration(s.seconds)}" for s in largest)
    return f"time: {duration(record.seconds)} ({split}); report: {relative(run_dir / REPORT_HTML)}"


def relative(path: Path) -> Path:
    """Shorter where it can be, for people."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


# Never folded: half a number reads as another number.
WHOLE = {name for name, _ in LIMITS_HEAD[:-1]}
NUMBERS = {name for name, _ in LIMITS_HEAD[3:-1]}


def _table(head: Sequence[str], style: box.Box | None, *, narrow: bool = False) -> Table:
    """An empty table.

    Args:
        narrow: spare every column of the terminal.
    """
    table = Table(
        box=style,
        pad_edge=False,
        header_style="bold",
        show_edge=False,
        padding=(0, 0) if narrow else (0, 1),
    )
    for name in head:
        table.add_column(
            name.replace(" ", "\n") if style is not None else name,
            justify="right" if name in NUMBERS else "left",
            no_wrap=name in WHOLE,
            overflow="fold",
        )
    return table


def _verdict_table(record: RunRecord, style: box.Box | None) -> Table:
    table = _table(("verdict", "test", "ABI", "guest", "seconds", "why"), style)
    for test, seeds, seconds in folded(record.tests):
        verdict = str(test.verdict or "unfinished") + (f" ({test.layer})" if test.layer else "")
        table.add_row(
            Text(verdict, style=COLOURS.get(test.verdict or Verdict.ERROR, "")),
            Text(f"{test.suite}::{test.test}{seeds}"),
            test.abi,
            test.guest,
            f"{seconds:.1f}",
            Text(test.reason),
        )
    return table


def folded(tests: Sequence[TestResult]) -> list[tuple[TestResult, str, float]]:
    """Lines of the verdict table: passes that differ only in their seed are one.

    Returns:
        A test of the line, what to say of its seeds, and its seconds.
    """
    lines: dict[tuple[object, ...], list[TestResult]] = {}
    for test in tests:
        alone = None if test.verdict is Verdict.PASS else test.seed
        lines.setdefault((test.suite, test.test, test.guest, test.abi, alone), []).append(test)
    out = []
    for alike in lines.values():
        seeds = sorted({test.seed for test in alike})
        said = "" if seeds == [1] else f", seed{'s' if len(seeds) > 1 else ''} {show_seeds(seeds)}"
        out.append((alike[0], said, sum(test.seconds for test in alike)))
    return out


# What the bare guests' races call one interleaving of their vCPUs, and what is no figure of its own.
SCHEDULES = "rounds"
COVERAGE_TXT = "coverage.txt"
COVERAGE_HEAD = ("file", "lines", "with code", "covered", "share")


def schedules_line(record: RunRecord) -> str:
    """How many schedules deterministic guests explored, and how fast; empty where there was none."""
    boots = {boot.number: boot for boot in record.boots if boot.deterministic}
    counted = [test for test in record.tests if test.boot in boots and SCHEDULES in test.figures]
    if not counted:
        return ""
    total = sum(test.figures[SCHEDULES] for test in counted)
    used = {test.boot for test in counted}
    seconds = sum(boot.seconds for number, boot in boots.items() if number in used)
    each = f"{total * 60 / seconds:,.0f} a minute" if seconds else "in no time"
    return f"schedules: {total:,} explored in {duration(seconds)} of {len(used)} boots, {each}"


def figure_cells(record: RunRecord) -> list[tuple[str, ...]]:
    """What bare guests' tests counted, one line each."""
    return [
        (f"{test.suite}::{test.test}", test.guest, name, f"{value:,}")
        for test in record.tests
        for name, value in test.figures.items()
        if name != SCHEDULES
    ]


def coverage_cells(record: RunRecord) -> list[tuple[str, ...]]:
    """The coverage table as text, in the order of ``COVERAGE_HEAD``."""
    return [
        (file.file, file.what, str(file.lines), str(file.covered), f"{100 * file.covered / file.lines:.1f} %")
        for file in record.coverage
    ]


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], style: box.Box | None) -> Table:
    table = _table(head, style)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _limits_table(record: RunRecord, style: box.Box | None, *, narrow: bool) -> Table:
    table = _table([name for name, _ in LIMITS_HEAD[:-1]], style, narrow=narrow)
    for row in limits_cells(record):
        table.add_row(*(Text(cell) for cell in row[:-1]))
    return table


def legend(record: RunRecord) -> list[str]:
    """What a newcomer wants explained below the limits table: the paths in it, then the notes."""
    used = {row.path for row in record.rows}
    lines = [f"{path}: {text}" for path, text in PATHS.items() if path in used]
    return lines + [f"{r.abi} {r.guest} {r.path}: {r.note}" for r in record.rows if r.note]


@dataclass(frozen=True, kw_only=True)
class ConsoleView:
    """A console as the page shows it."""

    layer: str
    machine: int | None
    size: int
    text: str
    cut: bool


def _consoles(run_dir: Path, record: RunRecord) -> list[ConsoleView]:
    views = []
    for console in record.consoles:
        path = run_dir / console.file
        if not path.is_file():
            continue
        text = printable(tail(path, lines=CONSOLE_LINES, most=256 << 10))
        views.append(
            ConsoleView(
                layer=console.layer,
                machine=console.machine,
                size=path.stat().st_size,
                text=text,
                cut=text.count("\n") + 1 >= CONSOLE_LINES,
            )
        )
    return views


def printable(text: str) -> str:
    """Without terminal escapes and control characters, which a console may hold and a page cannot show."""
    plain = ESCAPES.sub("", text).replace("\r", "")
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain)


def _text_of(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def write_html(run_dir: Path, record: RunRecord) -> Path:
    """Write the one self-contained page of a run.

    Returns:
        Its path, ``report.html`` in the run folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "duration": duration, "printable": printable}
    page = environment.get_template("report.html.j2").render(
        run=record,
        headline=headline(record),
        meaning=MEANING,
        tests=folded(record.tests),
        schedules=schedules_line(record),
        figures=figure_cells(record),
        coverage_head=COVERAGE_HEAD,
        coverage=coverage_cells(record),
        uncovered=_text_of(run_dir / COVERAGE_TXT),
        limits_head=LIMITS_HEAD,
        limits=limits_cells(record),
        paths={p: t for p, t in PATHS.items() if any(row.path == p for row in record.rows)},
        command=shlex.join(record.command),
        time=time_split(record),
        steps=[step for step in record.steps if step.seconds >= 1],
        consoles=_consoles(run_dir, record),
        console_lines=CONSOLE_LINES,
    )
    path = run_dir / REPORT_HTML
    fresh = path.with_suffix(".html.new")
    fresh.write_text(page, encoding="utf-8")
    fresh.replace(path)
    return path
