# SPDX-License-Identifier: GPL-2.0-or-later
"""The text report of a run: tables and verdict, in colour on a terminal, else plain.

It needs only ``run.json``, so a run can be reported again at any time, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.records import Verdict
from harness.core.text import duration
from harness.report.tables import (
    COVERAGE,
    COVERAGE_TXT,
    LIMITS,
    PARTS,
    REPORT_HTML,
    Column,
    folded,
    headline,
    known_lines,
    legend,
    metric_cells,
    schedules_line,
    shown,
    time_split,
    why,
    wish_lines,
)
from harness.run.record import RunRecord

R = TypeVar("R")

COLOURS = {
    Verdict.PASS: "bold green",
    Verdict.SKIP: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.HANG: "bold magenta",
    Verdict.CRASH: "bold red reverse",
    Verdict.ERROR: "bold red",
}


def print_report(run_dir: Path, record: RunRecord, *, file: TextIO) -> None:
    """Print the report, in colour on a terminal, else as plain text.

    Args:
        file: the output; its ``isatty`` decides which.
    """
    record = shown(record)
    # Without a terminal rich folds at 80 columns; folded tables are hard to read and to grep.
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
    if record.toolstack:
        console.print(f"toolstack {record.toolstack}", markup=False)
    for line in wish_lines(record):
        console.print(line, markup=False, soft_wrap=True)
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
        console.print(_column_table(COVERAGE, record.coverage, style))
        console.print(f"uncovered lines: {relative(run_dir / COVERAGE_TXT)}", markup=False, soft_wrap=True)
    if record.rows:
        console.print()
        _print_whole(console, LIMITS, record.rows, style)
        console.print()
        for line in legend(record):
            console.print(line, markup=False, style="dim")
    if record.parts:
        console.print()
        console.print(_column_table(PARTS, record.parts, style))
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
    for line in known_lines(record):
        console.print(line, markup=False, soft_wrap=True)
    for note in record.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(last_line(run_dir, record), markup=False, soft_wrap=True)


def last_line(run_dir: Path, record: RunRecord) -> str:
    """The run's time by its largest steps, and the page's path."""
    largest = time_split(record)[:5]
    split = ", ".join(f"{s.name} {duration(s.seconds)}" for s in largest)
    return f"time: {duration(record.seconds)} ({split}); report: {relative(run_dir / REPORT_HTML)}"


def relative(path: Path) -> Path:
    """``path`` relative to the current folder if it lies below it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


# Names of columns, in any table. WHOLE ones are never folded: half a number reads as another number.
WHOLE = {column.name for column in LIMITS if not column.html_only}
NUMBERS = {column.name for column in LIMITS if column.numeric}


def _print_whole(
    console: Console, columns: Sequence[Column[R]], records: Sequence[R], style: box.Box | None
) -> None:
    """Print a table of numbers so that none is cut.

    A terminal that is too narrow even without padding wraps the lines; rich
    by itself would drop digits.
    """
    for narrow in (False, True):
        table = _column_table(columns, records, style, narrow=narrow)
        needed = console.measure(table, options=console.options.update(max_width=1000)).maximum
        if needed <= console.width:
            break
    else:
        console = Console(file=console.file, width=needed, highlight=False)
    console.print(table)


def _table(head: Sequence[str], style: box.Box | None, *, narrow: bool = False) -> Table:
    """An empty table.

    Args:
        narrow: no padding, to fit 80 columns.
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
            Text(why(test)),
        )
    return table


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]], style: box.Box | None) -> Table:
    table = _table(head, style)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _column_table(
    columns: Sequence[Column[R]], records: Sequence[R], style: box.Box | None, *, narrow: bool = False
) -> Table:
    shown = [column for column in columns if not column.html_only]
    table = _table([column.name for column in shown], style, narrow=narrow)
    for record in records:
        table.add_row(*(Text(column.value(record)) for column in shown))
    return table
