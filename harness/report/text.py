# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found, for people: tables on the terminal, one HTML page.

Both are made from ``run.json`` and the console files beside it alone, so a
run can be reported again at any time, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.records import Verdict
from harness.report.tables import (
    COVERAGE_HEAD,
    COVERAGE_TXT,
    LIMITS_HEAD,
    REPORT_HTML,
    coverage_cells,
    duration,
    folded,
    headline,
    legend,
    limits_cells,
    metric_cells,
    schedules_line,
    time_split,
)
from harness.run.record import RunRecord

COLOURS = {
    Verdict.PASS: "bold green",
    Verdict.SKIP: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.HANG: "bold magenta",
    Verdict.CRASH: "bold red reverse",
    Verdict.ERROR: "bold red",
}


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
    if metrics := metric_cells(record):
        console.print()
        console.print(_plain_table(("test", "guest", "metric", "value"), metrics, style))
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

