# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML page of a validation: the table, and for each patch what there is to say, its costs, consoles of
what it broke, and its diff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness.core.text import printable
from harness.validate.patches import Series
from harness.validate.record import PatchRecord, SeriesRecord, ToldRecord, ValidateRecord
from harness.validate.table import columns, step_lines, verdict_line, words_of

PAGE = "validate.html"
# The page's classes for the terminal's styles.
CLASSES = {"bold red": "red", "green": "green", "yellow": "yellow", "dim": "dim"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A step as the page shows it: words of the table and lines below, each with its class."""

    step: PatchRecord
    words: list[tuple[str, str]]
    said: list[tuple[str, str]]
    evidence: list[ToldRecord]
    diff: str


@dataclass(frozen=True, kw_only=True)
class View:
    """A series as the page shows it."""

    series: SeriesRecord
    head: list[str]
    rows: list[Row]


def write_page(folder: Path, record: ValidateRecord, series: Sequence[Series]) -> Path:
    """Write the page.

    Args:
        series: as they were read, for the diffs.

    Returns:
        Its path.

    Raises:
        OSError: it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.validate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    views = [_view(one, read, record.level) for one, read in zip(record.series, series, strict=False)]
    page = environment.get_template("validate.html.j2").render(
        record=record, headline=verdict_line(record), views=views
    )
    path = folder / PAGE
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def _view(series: SeriesRecord, read: Series, level: str) -> View:
    diffs = {patch.number: patch.diff for patch in read.patches}
    rows, before = [], 0
    for step in series.steps:
        words = [(word, CLASSES.get(colour, "")) for word, colour in words_of(step, level, before)]
        said = [(printable(text), CLASSES.get(colour, "")) for text, colour in step_lines(step)]
        told = [one for suite in step.suites for one in suite.told if one.evidence]
        diff = printable(diffs.get(step.number, "")) if step.number else ""
        rows.append(Row(step=step, words=words, said=said, evidence=told, diff=diff))
        before = step.build.text if step.build and step.build.text else before
    return View(series=series, head=[name for name, _ in columns(level)], rows=rows)
