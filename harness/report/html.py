# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML page of a run.

It needs only ``run.json`` and the console files beside it, so a run can be
reported again at any time, on any machine.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness.core.files import replace_file
from harness.core.text import duration, printable, tail
from harness.report.tables import (
    COVERAGE,
    COVERAGE_TXT,
    LIMITS,
    MEANING,
    PARTS,
    PATHS,
    REPORT_HTML,
    count,
    folded,
    headline,
    known_lines,
    metric_cells,
    schedules_line,
    shown,
    time_split,
    why,
    wish_lines,
)
from harness.run.record import RunRecord

CONSOLE_LINES = 400  # of each console


@dataclass(frozen=True, kw_only=True)
class ConsoleView:
    """A console as the page shows it; ``cut``: only its last lines."""

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


def _text_of(path: Path) -> str:
    return printable(path.read_text(errors="replace")) if path.is_file() else ""


def write_html(run_dir: Path, record: RunRecord) -> Path:
    """Write a run's self-contained page.

    Returns:
        Its path, ``report.html`` in the run folder.

    Raises:
        OSError: it cannot be written; an earlier page stays as it was.
    """
    record = shown(record)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "duration": duration}
    page = environment.get_template("report.html.j2").render(
        run=record,
        headline=headline(record),
        known=known_lines(record),
        wishes=wish_lines(record),
        meaning=MEANING,
        tests=folded(record.tests),
        schedules=schedules_line(record),
        metrics=metric_cells(record),
        coverage_columns=COVERAGE,
        uncovered=_text_of(run_dir / COVERAGE_TXT),
        limits_columns=LIMITS,
        parts_columns=PARTS,
        why=why,
        paths={p: t for p, t in PATHS.items() if any(row.path == p for row in record.rows)},
        command=shlex.join(record.command),
        time=time_split(record),
        steps=[step for step in record.steps if step.seconds >= 1],
        consoles=_consoles(run_dir, record),
        console_lines=CONSOLE_LINES,
    )
    path = run_dir / REPORT_HTML
    replace_file(path, page.encode())
    return path

