# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge the cells of a series: what each patch broke, mended, or left as it was. Pure functions."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.records import Verdict


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell on one build: its id, verdict, and for a bad one the layer and the reason."""

    id: str
    verdict: Verdict
    layer: str = ""
    reason: str = ""
    evidence: str = ""  # last lines of the console to blame
    metrics: Mapping[str, int] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether it ended in anything but a pass or a skip."""
        return self.verdict not in (Verdict.PASS, Verdict.SKIP)

    @property
    def name(self) -> str:
        """``suite::test`` of the id, which names the guest, too, where a test runs in several."""
        return self.id.split("/", 4)[-1].rpartition("/")[0]


class Change(enum.StrEnum):
    """What a patch did to a cell."""

    BROKEN = "regression"
    MENDED = "fix"
    BEFORE = "as before"  # bad, as on the base
    SINCE = "since an earlier patch"  # bad, as after the patch before
    GONE = "not run any more"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A cell that is told of, and why.

    Attributes:
        since: for SINCE, the patch that broke it; for MENDED, the one that had broken it (0: the base did).
        was: what it was on the step before.
    """

    cell: CellResult
    change: Change
    since: int = 0
    was: str = ""


class History:
    """The cells of a suite from the base on: steps are added in the order of the patches.

    A cell is broken by the patch at which it turns from good to bad, whatever the base says: one that a
    patch mends and a later one breaks again is a regression as well. A skip on the step before is no excuse:
    what could not run there, and is bad here, is bad.
    """

    def __init__(self, base: Iterable[CellResult]) -> None:
        self._last = {cell.id: cell for cell in base}
        self._since = {cell.id: 0 for cell in self._last.values() if cell.bad}

    def add(self, number: int, cells: Sequence[CellResult]) -> list[Told]:
        """Judge the cells of the next patch that was run."""
        told = []
        now = {cell.id: cell for cell in cells}
        for cell in cells:
            before = self._last.get(cell.id)
            was = f"{before.verdict}" if before else "not there"
            if cell.bad and cell.id not in self._since:
                self._since[cell.id] = number
                told.append(Told(cell=cell, change=Change.BROKEN, was=was))
            elif cell.bad and (since := self._since[cell.id]):
                told.append(Told(cell=cell, change=Change.SINCE, since=since, was=was))
            elif cell.bad:
                told.append(Told(cell=cell, change=Change.BEFORE, was=was))
            elif cell.verdict is Verdict.PASS and cell.id in self._since:
                told.append(Told(cell=cell, change=Change.MENDED, since=self._since.pop(cell.id), was=was))
        for id_, cell in self._last.items():
            if id_ not in now and cell.verdict is Verdict.PASS:
                told.append(Told(cell=cell, change=Change.GONE, was=str(cell.verdict)))
        self._last = now
        return told


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A metric on the base, on the step before, and now, in instructions."""

    metric: str
    base: int | None
    before: int
    now: int

    @property
    def change(self) -> float:
        """Against the step before: 0.05 is 5 % more."""
        return self.now / self.before - 1 if self.before else 0.0


def costs(base: Mapping[str, int], before: Mapping[str, int], now: Mapping[str, int]) -> list[Cost]:
    """The metrics that differ from those of the step before, the largest change first."""
    found = [
        Cost(metric=name, base=base.get(name), before=before[name], now=value)
        for name, value in now.items()
        if name in before and before[name] != value
    ]
    return sorted(found, key=lambda one: (-abs(one.change), one.metric))


def metrics_of(cells: Iterable[CellResult]) -> dict[str, int]:
    """The metrics of all cells, each as ``guest: metric`` where several guests have it."""
    return {f"{_guest(cell)} {name}": value for cell in cells for name, value in cell.metrics.items()}


def _guest(cell: CellResult) -> str:
    """``bare-pv64`` of ``BASE/release/bare-pv64/3l/bench::...``."""
    return cell.id.split("/")[2]


def new_warnings(known: Iterable[str], now: Iterable[str]) -> list[str]:
    """The compiler's warnings that neither the base nor an earlier patch had."""
    return sorted(set(now) - set(known))
