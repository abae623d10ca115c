# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of `evh trends`: changes, a heat map of cells by nights, a plot of each metric (inline SVG)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import jinja2

from harness.core.records import Verdict
from harness.core.text import printable
from harness.history.changes import Change, Series
from harness.history.nights import UNJUDGED, History
from harness.history.trends import Trends, contradiction_line, flake_line, line_of, number

TRENDS_HTML = "trends.html"
# Size of a plot in the page's units.
WIDTH, HEIGHT, MARGIN = 720, 110, 8
# Cells that were never red share a line of the heat map, so that the others are seen.
HEAT = (*Verdict, UNJUDGED)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One metric: its title, path data and marks, in the page's units."""

    title: str
    line: str
    band: tuple[float, float]  # y and height of the middle half of the values
    dots: Sequence[tuple[float, float, str]]  # x, y, what it is
    marks: Sequence[float]  # x of each change
    least: str
    most: str
    spread: str


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """One line of the heat map: a name, and for each run the verdict (empty: none) and what it says."""

    name: str
    squares: Sequence[tuple[str, str]]


def write_page(found: Trends, path: Path) -> None:
    """Write the page.

    Raises:
        OSError: it cannot be written; an earlier page stays as it was.
    """
    history = found.history
    loader = jinja2.ChoiceLoader(
        [jinja2.PackageLoader("harness.history"), jinja2.PackageLoader("harness.report")]
    )
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    changed = {id(one.series) for one in found.changes}
    page = environment.get_template("trends.html.j2").render(
        nights=history.nights,
        cells=len(history.results),
        gaps=found.gaps,
        contradictions=[contradiction_line(history, one) for one in found.contradictions],
        changes=[line_of(history, one) for one in found.changes],
        flakes=[flake_line(history, one) for one in found.flakes],
        heat=heat_map(history),
        verdicts=HEAT,
        changed=[plot(found, one) for one in found.series if id(one) in changed],
        others=[plot(found, one) for one in found.series if id(one) not in changed and len(one.values) > 1],
        width=WIDTH,
        height=HEIGHT,
        margin=MARGIN,
    )
    fresh = path.with_suffix(".html.new")
    try:
        fresh.write_text(page, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def heat_map(history: History) -> list[HeatRow]:
    """The cells that were ever red or not judged, then one line for all others."""
    rows, green = [], []
    for cell, results in history.results.items():
        if any(one.red for one in results.values()):
            squares = []
            for at, night in enumerate(history.nights):
                one = results.get(at)
                said = f"{one.verdict} {one.reason}" if one else "did not run"
                squares.append((one.verdict if one else "", printable(f"{night.day} {night.id}: {said}")))
            rows.append(HeatRow(name=printable(cell), squares=squares))
        else:
            green.append(results)
    if green:
        squares = []
        for at, night in enumerate(history.nights):
            ran = sum(at in results for results in green)
            passed = sum(at in results and results[at].verdict == Verdict.PASS for results in green)
            verdict = Verdict.PASS if passed else Verdict.SKIP if ran else ""
            squares.append((str(verdict), f"{night.day} {night.id}: {passed} passed, {ran - passed} skipped"))
        rows.append(HeatRow(name=f"{len(green)} cells that were never red", squares=squares))
    return rows


def plot(found: Trends, series: Series) -> Plot:
    """The plot of one metric over all runs; runs without a value leave a gap in the line."""
    nights = found.history.nights
    low, high = min(series.values), max(series.values)
    # A constant, or a difference of a few, must not fill the whole height.
    room = max(high - low, abs(high) * 0.1, 1e-9)
    bottom = low - (room - (high - low)) / 2

    def x(run: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (run / max(1, len(nights) - 1)), 1)

    def y(value: float) -> float:
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - bottom) / room, 1)

    words, before = [], -2
    for run, value in zip(series.runs, series.values, strict=True):
        words.append(f"{'L' if run == before + 1 else 'M'}{x(run)},{y(value)}")
        before = run
    ordered = sorted(series.values)
    quarter, three = ordered[len(ordered) // 4], ordered[(3 * (len(ordered) - 1) + 3) // 4]
    spread = f"median {number(median(ordered))}, half of them {number(quarter)} to {number(three)}"
    if low == high:
        spread = f"always {number(low)}"
    return Plot(
        title=printable(f"{series.cell}: {series.metric}" + (f" on {series.place}" if series.place else "")),
        line=" ".join(words),
        band=(y(three), round(y(quarter) - y(three), 1)),
        dots=[
            (x(run), y(value), f"{nights[run].day} {nights[run].id}: {number(value)}")
            for run, value in zip(series.runs, series.values, strict=True)
        ],
        marks=[x(change.first - 0.5) for change in _of(found.changes, series)],
        least=number(low),
        most=number(high),
        spread=spread + (f"; {series.gaps} nights without a value" if series.gaps else ""),
    )


def _of(changes: Sequence[Change], series: Series) -> list[Change]:
    return [change for change in changes if change.series is series]
