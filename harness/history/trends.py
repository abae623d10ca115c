# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh trends`: what changed over many nights, and with which night and commits it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from harness.core.text import printable
from harness.history.changes import Change, Series, find_changes
from harness.history.index import index_of
from harness.history.nights import Contradiction, Flake, History, contradictions, flakes, read_history

# Seconds. The times of shorter tests are the host's, not the test's.
SHORTEST = 1.0


@dataclass(frozen=True, kw_only=True)
class Trends:
    """What the nights show.

    Attributes:
        series: what was looked at: every metric that is counted, and the times that are long enough.
        gaps: how many values are missing between the first and the last of their series.
    """

    history: History
    series: Sequence[Series]
    changes: Sequence[Change]
    flakes: Sequence[Flake]
    contradictions: Sequence[Contradiction]
    gaps: int


def trends(runs: Path) -> Trends:
    """Read a folder of runs and find what changed.

    Raises:
        UserError: there is no such folder. InfraError: the index cannot be made, or Otava is missing.
    """
    with index_of(runs) as connection:
        history = read_history(connection)
    series = [one for one in history.series if one.exact or _long_enough(one)]
    return Trends(
        history=history,
        series=series,
        changes=find_changes(series),
        flakes=flakes(history),
        contradictions=contradictions(history),
        gaps=sum(one.gaps for one in series),
    )


def _long_enough(series: Series) -> bool:
    return not series.metric.endswith("seconds") or max(series.values, default=0) >= SHORTEST


def number(value: float) -> str:
    """A value for people: counts in full, other numbers with three digits."""
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def what_changed(history: History, change: Change) -> str:
    """The commits and inputs between the last run with the old level and the first with the new one."""
    last, first = history.nights[change.last], history.nights[change.first]
    said = []
    if last.tested.commit != first.tested.commit:
        said.append(f"commits {last.tested.commit or '?'}..{first.tested.commit or '?'}")
    for name in sorted(last.versions | first.versions):
        if (was := last.versions.get(name, "none")) != (now := first.versions.get(name, "none")):
            said.append(f"{name} {was} -> {now}")
    keys, others = last.tested.keys, first.tested.keys
    if other := sorted(name for name in keys.keys() & others.keys() if keys[name] != others[name]):
        said.append(f"other {', '.join(other)}")
    if last.qemu != first.qemu:
        said.append(f"QEMU {last.qemu} -> {first.qemu}")
    return "; ".join(said) or "nothing that is recorded changed"


def line_of(history: History, change: Change) -> str:
    """A change in one line."""
    first, series = history.nights[change.first], change.series
    how = "exact" if series.exact else "median"
    gap = (date.fromisoformat(first.day) - date.fromisoformat(history.nights[change.last].day)).days
    between = f"; the value before is {gap} days older" if gap > 1 else ""
    levels = f"{number(change.before)} -> {number(change.after)}"
    levels += f" ({100 * change.share:+.1f} %, {how}{between})"
    why = what_changed(history, change)
    return printable(f"{first.day} ({first.id}): {series.cell}: {series.metric}: {levels}: {why}")


def flake_line(history: History, flake: Flake) -> str:
    """A flaky cell in one line, with its rate and the runs in which it was red and green."""
    low, high = flake.interval
    red, green = (history.nights[at].id for at in flake.example)
    return printable(
        f"{flake.cell}: red in {flake.red} of {flake.total} runs on equal artifacts, "
        f"{100 * flake.red / flake.total:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f} %); "
        f"red in {red}, green in {green}"
    )


def contradiction_line(history: History, found: Contradiction) -> str:
    """A deterministic cell that differs, in one line."""
    one, other = history.nights[found.one].id, history.nights[found.other].id
    return printable(f"{found.cell}: differs in {one} and {other}, on equal artifacts: {found.why}")


def text_of(found: Trends) -> str:
    """The trends for people."""
    history, nights = found.history, found.history.nights
    if not nights:
        return "no run to read"
    out = [f"{len(nights)} runs from {nights[0].day} to {nights[-1].day}, {len(history.results)} cells"]
    if found.gaps:
        out.append(f"{found.gaps} values are missing within their series; changes are found without them")
    for title, lines in (
        ("deterministic cells that differ on equal artifacts, an error of the harness:",
         [contradiction_line(history, one) for one in found.contradictions]),
        ("changes:", [line_of(history, one) for one in found.changes]),
        ("flaky cells:", [flake_line(history, one) for one in found.flakes]),
    ):  # fmt: skip
        if lines:
            out += ["", title, *(f"  {line}" for line in lines)]
    if not found.changes:
        out += ["", f"no change in {len(found.series)} metrics"]
    return "\n".join(out)
