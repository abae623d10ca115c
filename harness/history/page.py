# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of `evh trends`: changes, a heat map of cells by nights, a plot of each metric (inline SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import jinja2

from harness.core.files import replace_file
from harness.core.records import Verdict
from harness.core.text import printable
from harness.history.changes import Change, Series
from harness.history.nights import UNJUDGED, History, Result
from harness.history.trends import Trends, contradiction_line, flake_line, line_of, number

TRENDS_HTML = "trends.html"
# Size of a plot in the page's units; the labels are in its left margin.
WIDTH, HEIGHT, MARGIN = 1100, 130, 70
EDGE = 10
# Cells that were never red share a line of the heat map, so that the others are seen.
HEAT = (*Verdict, UNJUDGED)
# Of several runs on one day the worst is shown.
WORSE = (Verdict.SKIP, Verdict.PASS, UNJUDGED, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One metric: its title, path data and marks, in the page's units."""

    title: str
    line: str
    band: tuple[float, float]  # y and height of the middle half of the values
    dots: Sequence[tuple[float, float, str]]  # x, y, what it is
    marks: Sequence[float]  # x of each change
    labels: Sequence[tuple[float, str]]  # y and text of the least and the greatest value
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
    replace_file(path, page.encode())


def heat_map(history: History) -> list[HeatRow]:
    """The cells that were ever red or not judged, then one line for all others; one square for each day."""
    rows, green = [], []
    for cell, results in history.results.items():
        if not any(one.red for one in results.values()):
            green.append(results)
            continue
        days: dict[str, list[tuple[str, str]]] = {day: [] for day in history.days}
        for at, one in results.items():
            night = history.nights[at]
            days[night.day].append((one.verdict, f"{night.id}: {one.verdict} {one.reason}".rstrip()))
        squares = [
            (max((verdict for verdict, _ in each), key=WORSE.index, default=""),
             printable(f"{day} " + ("; ".join(said for _, said in each) or "did not run")))
            for day, each in days.items()
        ]  # fmt: skip
        rows.append(HeatRow(name=printable(cell), squares=squares))
    if green:
        rows.append(HeatRow(name=f"{len(green)} cells that were never red", squares=_green(history, green)))
    return rows


def _green(history: History, green: Sequence[dict[int, Result]]) -> list[tuple[str, str]]:
    """The squares of all cells that were never red."""
    squares = []
    for day in history.days:
        runs = [at for at, night in enumerate(history.nights) if night.day == day]
        seen = [results[at].verdict for results in green for at in runs if at in results]
        passed = seen.count(Verdict.PASS)
        verdict = Verdict.PASS if passed else Verdict.SKIP if seen else ""
        squares.append((str(verdict), f"{day}: {passed} passed, {len(seen) - passed} skipped"))
    return squares


def plot(found: Trends, series: Series) -> Plot:
    """The plot of one metric over all days; days without a value leave a gap in the line."""
    nights, days = found.history.nights, {day: at for at, day in enumerate(found.history.days)}
    low, high = min(series.values), max(series.values)
    # A constant, or a difference of a few, must not fill the whole height.
    room = max(high - low, abs(high) * 0.1, 1e-9)
    bottom = low - (room - (high - low)) / 2

    def x(day: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (day / max(1, len(days) - 1)), 1)

    def y(value: float) -> float:
        return round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - bottom) / room, 1)

    pairs = zip(series.runs, series.values, strict=True)
    points = [(days[nights[run].day], value, run) for run, value in pairs]
    words, before = [], -2
    for day, value, _ in points:
        words.append(f"{'L' if day <= before + 1 else 'M'}{x(day)},{y(value)}")
        before = day
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
            (x(day), y(value), f"{nights[run].day} {nights[run].id}: {number(value)}")
            for day, value, run in points
        ],
        marks=[x(days[nights[change.first].day] - 0.5) for change in _of(found.changes, series)],
        labels=[(y(value), number(value)) for value in dict.fromkeys((low, high))],
        spread=spread + (f"; {series.gaps} nights without a value" if series.gaps else ""),
    )


def _of(changes: Sequence[Change], series: Series) -> list[Change]:
    return [change for change in changes if change.series is series]
