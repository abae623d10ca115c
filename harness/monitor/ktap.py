# SPDX-License-Identifier: GPL-2.0-or-later
"""Parse the KTAP that the bare guests print on Xen's console.

Linux' Documentation/dev-tools/ktap.rst defines KTAP. An unfulfilled plan is
distinguished from failed tests: it means that the guest, or Xen, died on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PLAN = re.compile(r"1\.\.(\d+)$")
# "ok 2 name", "ok 2 - a name of several words", "ok 2 name # SKIP why" (ktap.rst, "Test case result lines").
_RESULT = re.compile(r"(not )?ok (\d+) (?:- )?(.+?)(?:\s+#\s*([A-Z]+)\b\s*(.*))?$")
# Bare guests in older stores print "figure".
_METRIC = re.compile(r"(?:metric|figure) (\S+) (-?\d+)$")
_SEED = re.compile(r"# seed (\d+)$")
_CASE = re.compile(r"^TEST\((\w+)\)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test's result.

    Attributes:
        skipped: why it was skipped; empty if it was not.
        diagnostics: the ``# ...`` lines that the test printed before its result.
        metrics: values by name, from its ``# metric NAME VALUE`` lines; values
            with the same name are added up.
    """

    name: str
    ok: bool
    skipped: str = ""
    diagnostics: tuple[str, ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of one boot.

    Attributes:
        planned: the number of tests in the plan; None without a plan.
        cases: the results, in order.
        dangling: diagnostics after the last result; they belong to the test that did not end.
        seed: the seed that the guest reports; None if it reports none.
    """

    planned: int | None
    cases: tuple[Case, ...]
    dangling: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def problem(self) -> str:
        """Why these results are incomplete; empty if they are complete."""
        if self.planned is None:
            return "no KTAP plan on the console"
        if len(self.cases) != self.planned:
            last = self.cases[-1].name if self.cases else "none"
            return f"{len(self.cases)} of {self.planned} results; last result: {last}"
        names = [case.name for case in self.cases]
        if len(set(names)) != len(names):
            return "two results have the same name"
        return ""


def parse(lines: Iterable[str]) -> Results:
    """Parse the results on a console; other lines (Xen's) are ignored.

    Args:
        lines: the console's lines, in order, with or without line ends.
    """
    planned: int | None = None
    seed: int | None = None
    cases: list[Case] = []
    diagnostics: list[str] = []
    metrics: dict[str, int] = {}
    for raw in lines:
        line = raw.strip()
        if seed is None and not cases and (found := _SEED.match(line)):
            seed = int(found[1])
        elif planned is None:
            if plan := _PLAN.match(line):
                planned = int(plan[1])
        elif "(XEN) " not in line and (result := _RESULT.match(line)):
            if int(result[2]) != len(cases) + 1:
                break  # a line was lost: the lines after it cannot be trusted
            skipped = (result[5] or "no reason given") if result[4] == "SKIP" else ""
            cases.append(
                Case(
                    name=result[3], ok=not result[1], skipped=skipped,
                    diagnostics=tuple(diagnostics), metrics=metrics,
                )
            )  # fmt: skip
            diagnostics, metrics = [], {}
        elif line.startswith("# "):
            if metric := _METRIC.match(line[2:]):
                metrics[metric[1]] = metrics.get(metric[1], 0) + int(metric[2])
            else:
                diagnostics.append(line[2:])
    return Results(planned=planned, cases=tuple(cases), dangling=tuple(diagnostics), seed=seed)


def cases_in(source: str) -> tuple[str, ...]:
    """Names of the tests in a bare guest's C source: its ``TEST(name)`` lines."""
    return tuple(_CASE.findall(source))
