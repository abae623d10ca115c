# SPDX-License-Identifier: GPL-2.0-or-later
"""Contents of a report, computed from ``run.json`` alone: tables, headline, time split.

``text`` and ``html`` lay them out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from harness.core.records import Verdict
from harness.core.text import duration, each_text, printable, show_seeds
from harness.run.record import CoverageRecord, PartRecord, Row, RunRecord, TestResult

REPORT_HTML = "report.html"

MEANING = {
    Verdict.PASS: "every selected cell behaved as specified",
    Verdict.SKIP: "no test ran to its end, so nothing was verified",
    Verdict.FAIL: "a test got a wrong answer",
    Verdict.HANG: "no answer within the deadline",
    Verdict.CRASH: "a layer crashed; the verdicts name it",
    Verdict.ERROR: "the harness or this host failed, not the system under test",
}

# Values of Row.path, which tests/suites set.
PATHS = {
    "raw": "ports opened by hypercalls alone, events read from the pending bitmap",
    "load": "one event in flight per port, back and forth, during other activity; both ends count",
    "irq": "each port has an interrupt in Linux, events counted by its handler",
}


def shown(record: RunRecord) -> RunRecord:
    """A copy of the record to show: each text in it is printable, as much of it comes from consoles."""
    return msgspec.convert(each_text(msgspec.to_builtins(record), printable), type=RunRecord)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One part of a run's time."""

    name: str
    seconds: float
    share: float  # of the run's time, 0 to 1


def count(number: float | None) -> str:
    """A count with thousands separators; ``-`` if it was not measured."""
    return "-" if number is None else f"{number:,.0f}"


def per_port(number: float | None) -> str:
    """Bytes per port; values below 100 with one decimal."""
    return f"{number:.1f}" if number is not None and abs(number) < 100 else count(number)


R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Column(Generic[R]):
    """One column of a table, in text and in HTML.

    Attributes:
        name: its head.
        meaning: explanation shown at the head in HTML; may be empty.
        value: its cell for one record.
        numeric: align to the right.
        alarm: in HTML, highlight every cell other than ``0``.
        html_only: leave the column out of the text table, which has to fit 80 columns.
    """

    name: str
    meaning: str = ""
    value: Callable[[R], str]
    numeric: bool = False
    alarm: bool = False
    html_only: bool = False


LIMITS: tuple[Column[Row], ...] = (
    Column(
        name="ABI",
        meaning="event-channel ABI the guest used: 2l, fifo or 3l",
        value=lambda row: row.abi,
    ),
    Column(name="guest", meaning="dom0 (PV), or a guest that dom0 started", value=lambda row: row.guest),
    Column(
        name="path", meaning="how ports were opened and events received", value=lambda row: row.path
    ),
    Column(
        name="ports opened",
        meaning="open at the same time",
        value=lambda row: count(row.opened),
        numeric=True,
    ),
    Column(name="sent", meaning="events sent", value=lambda row: count(row.sent), numeric=True),
    Column(
        name="seen",
        meaning="events counted by the receiver",
        value=lambda row: count(row.seen),
        numeric=True,
    ),
    Column(
        name="lost",
        meaning="sent and never seen",
        value=lambda row: count(row.lost),
        numeric=True,
        alarm=True,
    ),
    Column(
        name="duplicated",
        meaning="seen more than once for one send",
        value=lambda row: count(row.duplicated),
        numeric=True,
        alarm=True,
    ),
    Column(
        name="seconds",
        meaning="to open, send and receive",
        value=lambda row: f"{row.seconds:,.1f}",
        numeric=True,
    ),
    Column(
        name="guest B/port",
        meaning="guest memory in bytes for each open port",
        value=lambda row: per_port(row.guest_bytes_per_port),
        numeric=True,
    ),
    Column(
        name="Xen B/port",
        meaning="Xen memory in bytes for each open port",
        value=lambda row: per_port(row.xen_bytes_per_port),
        numeric=True,
    ),
    Column(name="note", value=lambda row: row.note, html_only=True),  # the text report's legend has it
)
COVERAGE: tuple[Column[CoverageRecord], ...] = (
    Column(name="file", value=lambda file: file.file),
    Column(name="lines", value=lambda file: file.what),
    Column(name="with code", value=lambda file: str(file.lines)),
    Column(name="covered", value=lambda file: str(file.covered)),
    Column(name="share", value=lambda file: f"{100 * file.covered / file.lines:.1f} %"),
)


# Repeated steps are summed under one name: prefix, name of the sum.
TOGETHER = (
    ("test", "tests"),
    ("start guest ", "start guests"),
    ("boot machine ", "boot machines"),
    ("restore machine ", "restore machines"),
    ("save machine ", "save machines"),
)


def time_split(record: RunRecord) -> list[Slice]:
    """The run's time by step, largest first."""
    parts: dict[str, float] = {}
    for step in record.timings:
        name = next((name for prefix, name in TOGETHER if step.step.startswith(prefix)), step.step)
        parts[name] = parts.get(name, 0.0) + step.seconds
    total = max(record.seconds, sum(parts.values()), 1e-9)
    parts["everything else"] = total - sum(parts.values())
    slices = [
        Slice(name=name, seconds=seconds, share=seconds / total)
        for name, seconds in parts.items()
        if seconds >= 0.05
    ]
    return sorted(slices, key=lambda part: -part.seconds)


def headline(record: RunRecord) -> str:
    """One sentence on how the run ended."""
    if record.state == "running":
        return f"still running: {record.doing or 'starting'}"
    if record.state == "killed":
        begun = f"{len(record.tests)} of {record.planned} tests had started"
        return f"killed during: {record.doing or 'starting'}; {begun}"
    if record.state == "interrupted":
        done = sum(test.verdict is not None for test in record.tests)
        why = record.error.message if record.error else "interrupted"
        return f"interrupted by {why}; {done} of {record.planned} tests had finished"
    if record.error is not None:
        return record.error.message
    counts = {v: sum(test.verdict is v for test in record.tests) for v in Verdict}
    if not record.tests and record.shard is not None and record.shard.cells:
        shard, cells = f"{record.shard.number}/{record.shard.of}", record.shard.cells
        return f"shard {shard} has none of the {cells} cells, so nothing was run"
    if not record.tests:
        return "no test matched the selection, so nothing was run"
    parts = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    passed_over = sum(issue.count for issue in record.known_issues)
    known = f"; {passed_over} known crash reports passed over" if passed_over else ""
    flaky = sum(test.flaky for test in record.tests)
    unsteady = f"; {flaky} of them flaky" if flaky else ""
    if held := sum(bool(test.quarantine) for test in record.tests):
        unsteady += f"; {held} red, but in quarantine"
    return f"{parts}: {MEANING[record.verdict or Verdict.ERROR]}{unsteady}{known}"


def known_lines(record: RunRecord) -> list[str]:
    """A line for each known issue that was seen: how often, and why it was passed over."""
    return [
        f"known issue, passed over {issue.count} times until {issue.until}: {issue.layer} {issue.pattern!r}: "
        f"{issue.why}" + (f" ({issue.link})" if issue.link else "")
        for issue in record.known_issues
        if issue.count
    ]


PARTS: tuple[Column[PartRecord], ...] = (
    Column(name="part", value=lambda part: part.id),
    Column(name="shard", value=lambda part: part.shard or "-"),
    Column(name="flavour", value=lambda part: part.flavour),
    Column(name="verdict", value=lambda part: str(part.verdict or part.state)),
    Column(name="cells", value=lambda part: f"{part.judged} of {part.planned}"),
    Column(name="time", value=lambda part: duration(part.seconds)),
    Column(name="problem", value=lambda part: part.problem),
    Column(name="host", value=lambda part: part.host, html_only=True),
    Column(name="folder", value=lambda part: part.folder, html_only=True),
)


def why(test: TestResult) -> str:
    """The reason of a verdict; in a merged run with what other parts saw."""
    said = [test.reason, test.quarantine]
    if test.attempts:
        verdicts = ", ".join(f"{one.verdict or 'unfinished'} in {one.part}" for one in test.attempts)
        said.append(f"{'flaky' if test.flaky else 'ran more than once'}: {verdicts}")
    return "; ".join(filter(None, said))


def wish_lines(record: RunRecord) -> list[str]:
    """A line for each Kconfig symbol that a fragment wants and the tree does not have."""
    return [
        f"{wish.kernel} goes without {wish.symbol}={wish.value}, which {wish.place} wants: {wish.why}"
        for wish in record.wishes
    ]


def _origin(test: TestResult) -> tuple[str, str]:
    """Base and flavour of a cell."""
    base, _, rest = test.cell.partition("/")
    return base, rest.partition("/")[0]


def folded(tests: Sequence[TestResult]) -> list[tuple[TestResult, str, float]]:
    """Lines of the verdict table; passes that differ only in their seed share a line.

    Returns:
        For each line: one of its tests, the seeds (and in a merged run base and flavour, where cells differ
        in them) as text, and the sum of seconds.
    """
    lines: dict[tuple[object, ...], list[TestResult]] = {}
    for test in tests:
        alone = None if test.verdict is Verdict.PASS and not test.attempts else test.seed
        key = (*_origin(test), test.suite, test.test, test.guest, test.abi, alone)
        lines.setdefault(key, []).append(test)
    origins = {_origin(test) for test in tests}
    # In a merged run: what tells cells of several bases or flavours apart.
    differ = [at for at in (0, 1) if len({origin[at] for origin in origins}) > 1]
    out = []
    for alike in lines.values():
        seeds = sorted({test.seed for test in alike})
        said = "" if seeds == [1] else f", seed{'s' if len(seeds) > 1 else ''} {show_seeds(seeds)}"
        said += "".join(f", {_origin(alike[0])[at]}" for at in differ)
        out.append((alike[0], said, sum(test.seconds for test in alike)))
    return out


# Metric in which the bare guests' races count vCPU interleavings; the schedules line shows it, not the
# metrics table.
SCHEDULES = "rounds"
COVERAGE_TXT = "coverage.txt"


def schedules_line(record: RunRecord) -> str:
    """How many schedules deterministic guests explored, and how fast; empty if none did."""
    boots = {boot.number: boot for boot in record.boots if boot.deterministic}
    counted = [test for test in record.tests if test.boot in boots and SCHEDULES in test.metrics]
    if not counted:
        return ""
    total = sum(test.metrics[SCHEDULES] for test in counted)
    used = {test.boot for test in counted}
    seconds = sum(boot.seconds for number, boot in boots.items() if number in used)
    each = f"{total * 60 / seconds:,.0f} a minute" if seconds else "in no time"
    return f"schedules: {total:,} explored in {duration(seconds)} of {len(used)} boots, {each}"


def metric_cells(record: RunRecord) -> list[tuple[str, ...]]:
    """The metrics of bare guests' tests, one line each."""
    return [
        (f"{test.suite}::{test.test}", test.guest, name, f"{value:,}")
        for test in record.tests
        for name, value in test.metrics.items()
        if name != SCHEDULES
    ]


def legend(record: RunRecord) -> list[str]:
    """Explanations below the limits table: the paths that it uses, then the notes."""
    used = {row.path for row in record.rows}
    lines = [f"{path}: {text}" for path, text in PATHS.items() if path in used]
    return lines + [f"{r.abi} {r.guest} {r.path}: {r.note}" for r in record.rows if r.note]

