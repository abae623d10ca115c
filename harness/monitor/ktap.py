# SPDX-License-Identifier: GPL-2.0-or-later
"""Parse KTAP, which bare guests print on Xen's console and KUnit on the kernel's, with nested results.

Linux' Documentation/dev-tools/ktap.rst defines KTAP. An unfulfilled plan is
distinguished from failed tests: it means that the guest, or Xen, died on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PLAN = re.compile(r"1\.\.(\d+)$")
# "ok 2 name", "ok 2 - a name of several words", "ok 2 name # SKIP why" (ktap.rst, "Test case result lines").
_RESULT = re.compile(r"(not )?ok (\d+)(?:\s+(?:- )?(?!#)(.+?))?(?:\s+#\s*([A-Z]+)\b\s*(.*))?$")
# Bare guests in older stores print "figure".
_METRIC = re.compile(r"(?:metric|figure) (\S+) (-?\d+)$")
_SEED = re.compile(r"# seed (\d+)$")
# TAP is what kselftest and older kernels' KUnit print.
_VERSION = re.compile(r"K?TAP version \d+")
_SUBTEST = re.compile(r"# Subtest: (.+)$")
# printk's prefix: level, time, and the task or CPU that printed.
_STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")
_CASE = re.compile(r"^TEST\((\w+)\)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test's result.

    Attributes:
        skipped: why it was skipped; empty if it was not.
        diagnostics: the ``# ...`` lines that the test printed before its result.
        metrics: values by name, from its ``# metric NAME VALUE`` lines; values
            with the same name are added up.
        planned: the number of subtests in its plan; None without a plan.
        children: the results of its subtests, or of its parameters.
    """

    name: str
    ok: bool
    skipped: str = ""
    diagnostics: tuple[str, ...] = ()
    metrics: Mapping[str, int] = field(default_factory=dict)
    planned: int | None = None
    children: tuple[Case, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of one boot, or of a subtest that did not end.

    Attributes:
        planned: the number of tests in the plan; None without a plan.
        cases: the results, in order.
        dangling: diagnostics after the last result; they belong to the test that did not end.
        seed: the seed that the guest reports; None if it reports none.
        name: of the subtest, from its ``# Subtest: NAME`` line; empty for a whole boot.
        unfinished: the subtest that has begun and has no result.
    """

    planned: int | None
    cases: tuple[Case, ...]
    dangling: tuple[str, ...] = ()
    seed: int | None = None
    name: str = ""
    unfinished: Results | None = None

    @property
    def problem(self) -> str:
        """Why these results are incomplete; empty if they are complete."""
        if self.planned is None:
            return "no KTAP plan on the console"
        return _problem("", self.planned, self.cases)


def _problem(where: str, planned: int | None, cases: tuple[Case, ...]) -> str:
    within = f"{where}: " if where else ""
    # A test with parameters may print no plan, since their number is not known before.
    if planned is not None and len(cases) != planned:
        last = cases[-1].name if cases else "none"
        return f"{within}{len(cases)} of {planned} results; last result: {last}"
    names = [case.name for case in cases]
    if not where and len(set(names)) != len(names):
        return f"{within}two results have the same name"
    inner = (_problem(case.name, case.planned, case.children) for case in cases if not case.skipped)
    return next(filter(None, inner), "")


@dataclass
class _Level:
    """A document, or a subtest in it, while its lines arrive; ``indent`` is that of its lines."""

    indent: int
    name: str = ""
    planned: int | None = None
    seed: int | None = None
    cases: list[Case] = field(default_factory=list)
    diagnostics: list[str] = field(default_factory=list)
    metrics: dict[str, int] = field(default_factory=dict)

    def results(self, unfinished: Results | None) -> Results:
        return Results(
            planned=self.planned, cases=tuple(self.cases), dangling=tuple(self.diagnostics), seed=self.seed,
            name=self.name, unfinished=unfinished,
        )  # fmt: skip


def parse(lines: Iterable[str]) -> Results:
    """Parse the results on a console; other lines (Xen's, the kernel's) are ignored.

    Args:
        lines: the console's lines, in order, with or without line ends and printk's time stamps.
    """
    levels = [_Level(indent=0)]
    for raw in lines:
        line = _STAMP.sub("", raw.rstrip().replace("\r", ""), count=1)
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        if _VERSION.match(text) and indent > levels[-1].indent:
            levels.append(_Level(indent=indent))
        elif "(XEN) " not in line and (result := _RESULT.match(text)):
            at = next((n for n, level in enumerate(levels) if level.indent == indent), None)
            if at is None:
                continue  # indented like no document that has begun
            if levels[at].planned is None and len(levels) == 1:
                continue  # before the plan
            if int(result[2]) != len(levels[at].cases) + 1:
                break  # a line was lost: the lines after it cannot be trusted
            below = levels[at + 1] if len(levels) > at + 1 else None
            del levels[at + 1 :]
            _add(levels[at], result, below)
        else:
            _note(levels, text, indent)
    unfinished: Results | None = None
    for level in reversed(levels[1:]):
        unfinished = level.results(unfinished)
    return levels[0].results(unfinished)


def documents(lines: Iterable[str]) -> list[Results]:
    """Parse a console that may hold several documents, each of which begins with ``KTAP version``."""
    parts: list[list[str]] = []
    for line in lines:
        if _VERSION.match(_STAMP.sub("", line, count=1)):
            parts.append([])
        if parts:
            parts[-1].append(line)
    return [parse(part) for part in parts]


def _add(level: _Level, result: re.Match[str], below: _Level | None) -> None:
    """Add a result to the level that its line is of; ``below``: its subtests."""
    skipped = (result[5] or "no reason given") if result[4] == "SKIP" else ""
    level.cases.append(
        Case(
            name=result[3] or f"test {result[2]}", ok=not result[1], skipped=skipped,
            diagnostics=(*(below.diagnostics if below else ()), *level.diagnostics), metrics=level.metrics,
            planned=below.planned if below else None, children=tuple(below.cases) if below else (),
        )
    )  # fmt: skip
    level.diagnostics, level.metrics = [], {}


def _note(levels: list[_Level], text: str, indent: int) -> None:
    """Note a plan, a seed, a name, a metric or a diagnostic line on the innermost level it is of."""
    level = next((level for level in reversed(levels) if level.indent <= indent), levels[0])
    if level.planned is None and (plan := _PLAN.match(text)):
        level.planned = int(plan[1])
    elif level.seed is None and not level.cases and (found := _SEED.match(text)):
        level.seed = int(found[1])
    elif level.planned is None and (name := _SUBTEST.match(text)):
        level.name = name[1]
    elif not text.startswith("# ") or (level.planned is None and level is levels[0]):
        pass  # not of the results, or before the plan
    elif metric := _METRIC.match(text[2:]):
        level.metrics[metric[1]] = level.metrics.get(metric[1], 0) + int(metric[2])
    else:
        level.diagnostics.append(text[2:])


def cases_in(source: str) -> tuple[str, ...]:
    """Names of the tests in a bare guest's C source: its ``TEST(name)`` lines."""
    return tuple(_CASE.findall(source))
