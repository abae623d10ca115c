# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs over time, as the index has them: verdicts by cell and night, and metrics as series."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from harness.core.records import Verdict
from harness.history.changes import Series
from harness.history.same import RED, Subject, same_artifacts

UNJUDGED = "missing"


@dataclass(frozen=True, kw_only=True)
class Night:
    """One run. ``versions``: of the sources. ``place``: the kind of host, whose times are comparable."""

    folder: str
    id: str
    started: str
    state: str
    verdict: str
    flavour: str
    place: str
    qemu: str
    versions: dict[str, str]
    tested: Subject

    @property
    def day(self) -> str:
        """The day on which it began, in UTC."""
        return self.started[:10]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one cell did in one run. ``verdict`` is ``missing`` if it was planned and never judged."""

    verdict: str
    layer: str = ""
    reason: str = ""
    known: str = ""
    flaky: bool = False
    exact: bool = False
    console: str = ""

    @property
    def red(self) -> bool:
        return self.verdict not in (Verdict.PASS, Verdict.SKIP)


@dataclass(frozen=True, kw_only=True)
class History:
    """All runs of an index.

    Attributes:
        nights: the runs, oldest first.
        results: by cell, then by position of the run.
        series: every metric.
    """

    nights: Sequence[Night]
    results: dict[str, dict[int, Result]] = field(default_factory=dict)
    series: Sequence[Series] = ()

    @property
    def days(self) -> list[str]:
        """The days on which something ran, in order."""
        return list(dict.fromkeys(night.day for night in self.nights))


def read_history(connection: sqlite3.Connection) -> History:
    """Read an index. Runs that are parts of a merged one are left out, as are those with no cell."""
    rows = connection.execute(
        "SELECT folder, id, started, state, verdict, flavour, place, qemu, versions, tested, parts FROM run"
        " WHERE folder IN (SELECT folder FROM test) ORDER BY started, id"
    ).fetchall()
    parts = {tuple(part) for row in rows for part in msgspec.json.decode(row[-1], type=list[tuple[str, str]])}
    nights = [
        Night(
            folder=row[0], id=row[1], started=row[2], state=row[3], verdict=row[4], flavour=row[5],
            place=row[6], qemu=row[7], versions=msgspec.json.decode(row[8], type=dict[str, str]),
            tested=msgspec.json.decode(row[9], type=Subject),
        )
        for row in rows
        if (row[1], row[2]) not in parts
    ]  # fmt: skip
    position = {night.folder: at for at, night in enumerate(nights)}
    results: dict[str, dict[int, Result]] = {}
    columns = "folder, cell, verdict, layer, reason, known, flaky, exact, console"
    for folder, cell, verdict, *rest in connection.execute(f"SELECT {columns} FROM test ORDER BY cell"):
        if folder in position:
            layer, reason, known, flaky, exact, console = rest
            results.setdefault(cell, {})[position[folder]] = Result(
                verdict=verdict or UNJUDGED, layer=layer, reason=reason, known=known, flaky=bool(flaky),
                exact=bool(exact), console=console,
            )  # fmt: skip
    return History(nights=nights, results=results, series=_series(connection, nights, position))


def _series(
    connection: sqlite3.Connection, nights: Sequence[Night], position: dict[str, int]
) -> list[Series]:
    """Metrics as series; those that vary are kept apart by the kind of host."""
    found: dict[tuple[str, str, bool, str], dict[int, float]] = {}
    query = "SELECT folder, cell, name, value, exact FROM metric ORDER BY cell, name"
    for folder, cell, name, value, exact in connection.execute(query):
        if folder in position:
            at = position[folder]
            key = (cell, name, bool(exact), "" if exact else nights[at].place)
            found.setdefault(key, {})[at] = value
    return [
        Series(
            cell=cell, metric=name, exact=exact, place=place, runs=tuple(sorted(values)),
            values=tuple(values[at] for at in sorted(values)), gaps=_gaps(nights, sorted(values)),
        )
        for (cell, name, exact, place), values in found.items()
    ]  # fmt: skip


def _gaps(nights: Sequence[Night], runs: Sequence[int]) -> int:
    """Days from the first of some runs to the last of them on which only other runs were made."""
    days = {night.day for night in nights[runs[0] : runs[-1] + 1]}
    return len(days - {nights[at].day for at in runs})


@dataclass(frozen=True, kw_only=True)
class Flake:
    """A cell that was red and green on equal artifacts.

    Attributes:
        red, total: its red runs and all its runs on artifacts on which it was both.
        example: positions of a red and a green run that are known to be equal.
    """

    cell: str
    red: int
    total: int
    example: tuple[int, int]
    interval: tuple[float, float]


def wilson(red: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a rate: Wilson's, which holds for few runs and for rates near 0."""
    z = 1.959964
    rate, square = red / total, z * z / total
    middle = (rate + square / 2) / (1 + square)
    half = z * ((rate * (1 - rate) + square / 4) / total) ** 0.5 / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def flakes(history: History) -> list[Flake]:
    """The cells that are flaky, with their rates."""
    found = []
    for cell, results in history.results.items():
        # A deterministic cell cannot be flaky (see ``contradictions``), except that a slow host may end it.
        red = [
            at for at, one in results.items()
            if one.verdict in RED and (not one.exact or one.verdict == Verdict.HANG)
        ]  # fmt: skip
        green = [at for at, one in results.items() if one.verdict == Verdict.PASS]
        pairs = [(a, b) for a in red for b in green if _equal(history, a, b)]
        within = [at for at, one in results.items() if one.flaky and at not in red]  # of a merged run
        if not pairs and not within and not any(results[at].flaky for at in red):
            continue
        example = pairs[0] if pairs else next((at, at) for at, one in results.items() if one.flaky)
        both = {at for pair in pairs for at in pair} or set(example)
        reds = len(both & set(red)) or 1
        found.append(
            Flake(cell=cell, red=reds, total=len(both), example=example, interval=wilson(reds, len(both)))
        )
    return found


def _equal(history: History, one: int, other: int) -> bool:
    return same_artifacts(history.nights[one].tested, history.nights[other].tested)


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A deterministic cell that differs on equal artifacts: an error of the harness.

    ``one`` and ``other`` are positions of the runs.
    """

    cell: str
    one: int
    other: int
    why: str


def contradictions(history: History) -> list[Contradiction]:
    """The first difference of each deterministic cell between neighbours on equal artifacts and QEMUs."""
    counted: dict[str, list[Series]] = {}
    for series in history.series:
        if series.exact:
            counted.setdefault(series.cell, []).append(series)
    found = []
    for cell, results in history.results.items():
        exact = sorted(at for at, one in results.items() if one.exact and one.verdict != Verdict.ERROR)
        for one, other in pairwise(exact):
            if history.nights[one].qemu != history.nights[other].qemu or not _equal(history, one, other):
                continue
            if why := _differs(results[one], results[other], counted.get(cell, ()), one, other):
                found.append(Contradiction(cell=cell, one=one, other=other, why=why))
                break
    return found


def _differs(before: Result, after: Result, counted: Sequence[Series], one: int, other: int) -> str:
    if Verdict.HANG in (before.verdict, after.verdict):
        return ""  # a deadline is wall-clock time
    if before.verdict != after.verdict:
        return f"{before.verdict}, then {after.verdict}"
    for series in counted:
        values = dict(zip(series.runs, series.values, strict=True))
        if values.get(one) != values.get(other):
            return f"{series.metric}: {values.get(one)}, then {values.get(other)}"
    if before.console and after.console and before.console != after.console:
        return "another console"
    return ""
