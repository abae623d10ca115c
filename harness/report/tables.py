# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run found, for people: tables on the terminal, one HTML page.

Both are made from ``run.json`` and the console files beside it alone, so a
run can be reported again at any time, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.records import Verdict
from harness.plan.seeds import show_seeds
from harness.run.record import RunRecord, TestResult

REPORT_HTML = "report.html"

MEANING = {
    Verdict.PASS: "every selected cell did what it should",
    Verdict.SKIP: "nothing was run to its end, so nothing was shown",
    Verdict.FAIL: "something answered, and the answer is wrong",
    Verdict.HANG: "no answer within the deadline",
    Verdict.CRASH: "a layer broke down: see whose below",
    Verdict.ERROR: "the harness or this host failed, not what was tested",
}

LIMITS_HEAD = (
    ("ABI", "event-channel ABI the guest used: 2l, fifo or 3l"),
    ("guest", "dom0 (PV), or a guest that dom0 started"),
    ("path", "how ports were opened and events received"),
    ("ports opened", "open at the same time"),
    ("sent", "events sent"),
    ("seen", "events counted by the receiver"),
    ("lost", "sent and never seen"),
    ("duplicated", "seen more than once for one send"),
    ("seconds", "to open, send and receive"),
    ("guest B/port", "guest memory in bytes for each open port"),
    ("Xen B/port", "Xen memory in bytes for each open port"),
    ("note", ""),
)
# What tests/suites mean by a path.
PATHS = {
    "raw": "ports opened by hypercalls alone, events read from the pending bitmap",
    "load": "one event under way on each port, to and fro, while something happens; both ends count",
    "irq": "each port has an interrupt in Linux, events counted by its handler",
}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Part of a run's time."""

    name: str
    seconds: float
    share: float  # of the whole, 0 to 1


def count(number: float | None) -> str:
    """A count with thousands separated; ``-`` for what was not measured."""
    return "-" if number is None else f"{number:,.0f}"


def per_port(number: float | None) -> str:
    """Bytes for each port; small metrics with a decimal."""
    return f"{number:.1f}" if number is not None and abs(number) < 100 else count(number)


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``7.3 s``, ``4 min 12 s``."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def limits_cells(record: RunRecord) -> list[tuple[str, ...]]:
    """The limits table as text, in the order of ``LIMITS_HEAD``."""
    return [
        (
            row.abi,
            row.guest,
            row.path,
            count(row.opened),
            count(row.sent),
            count(row.seen),
            count(row.lost),
            count(row.duplicated),
            f"{row.seconds:,.1f}",
            per_port(row.guest_bytes_per_port),
            per_port(row.xen_bytes_per_port),
            row.note,
        )
        for row in record.rows
    ]


# Steps that there may be many of, taken together under one name.
TOGETHER = (("test", "tests"), ("start guest ", "start guests"), ("boot machine ", "boot machines"))


def time_split(record: RunRecord) -> list[Slice]:
    """Where the time went, the largest part first."""
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
        begun = f"{len(record.tests)} of {record.planned} tests were begun"
        return f"killed while: {record.doing or 'starting'}; {begun}"
    if record.state == "interrupted":
        done = sum(test.verdict is not None for test in record.tests)
        why = record.error.message if record.error else "interrupted"
        return f"interrupted by {why}; {done} of {record.planned} tests were done"
    if record.error is not None:
        return record.error.message
    counts = {v: sum(test.verdict is v for test in record.tests) for v in Verdict}
    if not record.tests:
        return "no test matched what was asked for, so nothing was run"
    parts = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    return f"{parts}: {MEANING[record.verdict or Verdict.ERROR]}"


def folded(tests: Sequence[TestResult]) -> list[tuple[TestResult, str, float]]:
    """Lines of the verdict table: passes that differ only in their seed are one.

    Returns:
        A test of the line, what to say of its seeds, and its seconds.
    """
    lines: dict[tuple[object, ...], list[TestResult]] = {}
    for test in tests:
        alone = None if test.verdict is Verdict.PASS else test.seed
        lines.setdefault((test.suite, test.test, test.guest, test.abi, alone), []).append(test)
    out = []
    for alike in lines.values():
        seeds = sorted({test.seed for test in alike})
        said = "" if seeds == [1] else f", seed{'s' if len(seeds) > 1 else ''} {show_seeds(seeds)}"
        out.append((alike[0], said, sum(test.seconds for test in alike)))
    return out


# What the bare guests' races call one interleaving of their vCPUs, and what is no metric of its own.
SCHEDULES = "rounds"
COVERAGE_TXT = "coverage.txt"
COVERAGE_HEAD = ("file", "lines", "with code", "covered", "share")


def schedules_line(record: RunRecord) -> str:
    """How many schedules deterministic guests explored, and how fast; empty where there was none."""
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
    """What bare guests' tests counted, one line each."""
    return [
        (f"{test.suite}::{test.test}", test.guest, name, f"{value:,}")
        for test in record.tests
        for name, value in test.metrics.items()
        if name != SCHEDULES
    ]


def coverage_cells(record: RunRecord) -> list[tuple[str, ...]]:
    """The coverage table as text, in the order of ``COVERAGE_HEAD``."""
    return [
        (file.file, file.what, str(file.lines), str(file.covered), f"{100 * file.covered / file.lines:.1f} %")
        for file in record.coverage
    ]


def legend(record: RunRecord) -> list[str]:
    """What a newcomer wants explained below the limits table: the paths in it, then the notes."""
    used = {row.path for row in record.rows}
    lines = [f"{path}: {text}" for path, text in PATHS.items() if path in used]
    return lines + [f"{r.abi} {r.guest} {r.path}: {r.note}" for r in record.rows if r.note]

