# SPDX-License-Identifier: GPL-2.0-or-later
"""Read KTAP as the bare guests speak it on Xen's console.

KTAP is TAP as Linux' Documentation/dev-tools/ktap.rst has it. A result counts
only if it is whole: a plan that was not fulfilled is told apart from tests
that failed, since the guest (or Xen) died on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PLAN = re.compile(r"1\.\.(\d+)$")
_RESULT = re.compile(r"(not )?ok (\d+) (\S+)$")
# Bare guests in stores of before say "figure".
_METRIC = re.compile(r"(?:metric|figure) (\S+) (-?\d+)$")
_SEED = re.compile(r"# seed (\d+)$")
_CASE = re.compile(r"^TEST\((\w+)\)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test's result.

    Attributes:
        diagnostics: the ``# ...`` lines the test printed before its result.
        metrics: what it counted, from its ``# metric NAME VALUE`` lines; one
            that comes twice adds up.
    """

    name: str
    ok: bool
    diagnostics: tuple[str, ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What one boot said.

    Attributes:
        planned: how many tests were announced; None without a plan.
        dangling: diagnostics after the last result: of the test it died in.
        seed: what the guest says it draws from; None where it says nothing.
    """

    planned: int | None
    cases: tuple[Case, ...]
    dangling: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def problem(self) -> str:
        """Why these results are not whole; empty if they are."""
        if self.planned is None:
            return "no KTAP plan on the console"
        if len(self.cases) != self.planned:
            last = self.cases[-1].name if self.cases else "none"
            return f"{len(self.cases)} of {self.planned} results, the last one: {last}"
        names = [case.name for case in self.cases]
        if len(set(names)) != len(names):
            return "two results have the same name"
        return ""


def parse(lines: Iterable[str]) -> Results:
    """Read results out of a console; lines of others (Xen's) are passed over.

    Args:
        lines: the console, in order, with or without line ends.
    """
    planned: int | None = None
    seed: int | None = None
    cases: list[Case] = []
    diagnostics: list[str] = []
    metrics: dict[str, int] = {}
    for raw in lines:
        line = raw.strip()
        if seed is None and not cases and (told := _SEED.match(line)):
            seed = int(told[1])
        elif planned is None:
            if plan := _PLAN.match(line):
                planned = int(plan[1])
        elif result := _RESULT.match(line):
            if int(result[2]) != len(cases) + 1:
                break  # a line was lost: nothing after it can be trusted
            cases.append(
                Case(name=result[3], ok=not result[1], diagnostics=tuple(diagnostics), metrics=metrics)
            )
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
