# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the level of a metric changes: exactly for what is counted, by change points for what varies."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.core.environment import environment
from harness.core.errors import InfraError
from harness.history import otava_worker

# A change of a time has to be so improbable. Far below what is usual, since hundreds of series are looked at
# every night.
PVALUE = 1e-5
# The medians before and after differ by at least this share, and so many nights lie on each side: Otava's
# t-test takes two outliers that are alike, or one tight group of nights, for a level of their own.
MAGNITUDE = 0.05
NIGHTS = 3
# Fewer points than this have no change that could be told from noise.
FEWEST = 8


@dataclass(frozen=True, kw_only=True)
class Series:
    """One metric of one cell over runs.

    Attributes:
        cell, metric: what was measured.
        place: the kind of host; empty for what is counted, which is the same on every host.
        exact: counted under an instruction counter, so that equal artifacts give equal values.
        runs: positions of the runs that have a value, in order.
        values: of those runs.
        gaps: days between the first and the last value on which something ran, but this has no value.
    """

    cell: str
    metric: str
    place: str
    exact: bool
    runs: tuple[int, ...]
    values: tuple[float, ...]
    gaps: int = 0


@dataclass(frozen=True, kw_only=True)
class Change:
    """A new level of a series.

    Attributes:
        first: position of the first run with the new level.
        last: position of the last run with the old one.
        before, after: the levels; medians if the values vary.
    """

    series: Series
    first: int
    last: int
    before: float
    after: float

    @property
    def share(self) -> float:
        """The change as a share of the level before; infinite if that was 0."""
        return (self.after - self.before) / self.before if self.before else math.inf


def find_changes(series: Sequence[Series]) -> list[Change]:
    """All changes, in order of the night, then of the cell.

    Raises:
        InfraError: Otava is not installed, or fails.
    """
    found = [change for one in series if one.exact for change in _exact(one)]
    varying = [one for one in series if not one.exact and len(one.values) >= FEWEST]
    for one, places in zip(varying, change_points([one.values for one in varying]), strict=True):
        found += _levels(one, places)
    return sorted(found, key=lambda change: (change.first, change.series.cell, change.series.metric))


def _exact(series: Series) -> list[Change]:
    """Every value that differs from the one before it."""
    pairs = zip(series.runs, series.values, series.runs[1:], series.values[1:], strict=False)
    return [
        Change(series=series, last=last, first=first, before=before, after=after)
        for last, before, first, after in pairs
        if before != after
    ]


def _levels(series: Series, places: Sequence[int]) -> list[Change]:
    """The changes that are more than an outlier, from the places that Otava found."""
    edges = [0, *places, len(series.values)]
    found = []
    for begin, at, end in zip(edges, edges[1:], edges[2:], strict=False):
        before, after = series.values[begin:at], series.values[at:end]
        if min(len(before), len(after)) < NIGHTS or not median(before):
            continue
        change = Change(
            series=series, last=series.runs[at - 1], first=series.runs[at],
            before=median(before), after=median(after),
        )  # fmt: skip
        if abs(change.share) >= MAGNITUDE:
            found.append(change)
    return found


def change_points(series: Sequence[Sequence[float]]) -> list[list[int]]:
    """The positions at which Otava sees a new level, for each series. No value may be NaN.

    Raises:
        InfraError: Otava is not installed, or fails.
    """
    if not series:
        return []
    python = Path(sys.prefix) / "otava" / "bin" / "python"
    asked = {"series": [list(one) for one in series], "pvalue": PVALUE, "magnitude": MAGNITUDE}
    try:
        done = subprocess.run(
            [str(python), "-I", str(Path(otava_worker.__file__))],
            input=json.dumps(asked, allow_nan=False), env=environment({"OPENBLAS_NUM_THREADS": "1"}),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except OSError as error:
        raise InfraError(
            f"cannot run Otava's Python, {python}: {error.strerror}", hint="`make setup` installs it."
        ) from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise InfraError(f"Otava failed: {said}", hint="`make setup` installs it anew.") from error
    answer: list[list[int]] = json.loads(done.stdout)
    return answer
