# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of a validation, which grows by a row with each patch, and what is told below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from harness.core.records import Verdict
from harness.core.text import duration, printable
from harness.validate.behave import LEVELS
from harness.validate.judge import Change
from harness.validate.record import PatchRecord, SeriesRecord, SuiteRecord, ToldRecord, ValidateRecord

RED, GREEN, YELLOW, DIM = "bold red", "green", "yellow", "dim"
WIDTHS = {"patch": 5, "applies": 7, "style": 9, "builds": 8, "changes": 9, "cells": 17, "cost": 8, "size": 7}


def columns(level: str) -> list[tuple[str, int]]:
    """Names and widths of the columns before the last, which is the subject."""
    suites = [part.suite for part in LEVELS[level]]
    shown = [(name, WIDTHS[name]) for name in ("patch", "applies", "style", "builds", "changes")]
    shown += [(suite, max(WIDTHS["cells"] - 4, len(suite))) for suite in suites if suite != "bench"]
    shown += [("cost", WIDTHS["cost"])] if "bench" in suites else []
    return [*shown, ("code", WIDTHS["size"])]


class Growing:
    """Prints the table of one validation, row by row."""

    def __init__(self, level: str, *, file: TextIO) -> None:
        width = None if file.isatty() else 220
        self._console = Console(file=file, width=width, no_color=not file.isatty(), highlight=False)
        self._level = level
        self._series: SeriesRecord | None = None
        self._text = 0

    def show(self, series: SeriesRecord, step: PatchRecord) -> None:
        """Print a step's row; before a series' first one its head."""
        if series is not self._series:
            self._series, self._text = series, 0
            self._print(Text(f"\n{series.kind}: {series.title or series.source}, on {series.base}"))
            head = columns(self._level)
            self._print(Text(line(head, [name for name, _ in head], "subject"), style="bold"))
        row = Text()
        words = words_of(step, self._level, self._text)
        for (_, width), (word, colour) in zip(columns(self._level), words, strict=True):
            row.append(f"{word:<{width}} ", style=colour)
        row.append(printable(step.subject))
        self._print(row)
        if step.build and step.build.text:
            self._text = step.build.text

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def words_of(step: PatchRecord, level: str, before: int) -> Iterator[tuple[str, str]]:
    """The words of a step's row, but for its subject, each with its colour.

    Args:
        before: bytes of code of the step before; 0: there is none.
    """
    if step.number == 0 or (step.build is not None and step.verdict is None):
        yield ("base" if step.number == 0 else f"{step.number}"), ""
        yield from (("", ""), ("", ""))
    else:
        yield str(step.number), RED if step.verdict not in (Verdict.PASS, None) else ""
        yield ("NO", RED) if step.misfit else ("yes", GREEN) if step.commit else ("-", DIM)
        remarks = len(step.remarks)
        several = f"{remarks} remark{'s' if remarks > 1 else ''}"
        yield (several, YELLOW) if remarks else ("good", GREEN) if step.commit else ("-", DIM)
    yield _build_word(step)
    yield _change_word(step)
    suites = {suite.suite: suite for suite in step.suites}
    for part in LEVELS[level]:
        if part.suite != "bench":
            yield _suite_word(step, suites.get(part.suite))
    if any(part.suite == "bench" for part in LEVELS[level]):
        yield cost_word(step)
    size = step.build.text if step.build else 0
    change = f"{size - before:+}" if size != before else "0"
    yield (change if before else f"{size:,}") if size else "", ""


def line(head: Sequence[tuple[str, int]], words: Sequence[str], last: str) -> str:
    """Words in columns, and one word after them."""
    return " ".join([*(f"{word:<{width}}" for (_, width), word in zip(head, words, strict=True)), last])


def _build_word(step: PatchRecord) -> tuple[str, str]:
    if step.build is None:
        return "-", DIM
    if step.build.error:
        return "NO", RED
    if step.build.new_warnings:
        return f"{len(step.build.new_warnings)} warn", YELLOW
    return "yes", GREEN


def _change_word(step: PatchRecord) -> tuple[str, str]:
    if step.build is None or step.build.error or step.verdict is None:
        return "", ""
    if step.build.same_as is not None:
        return "nothing", DIM
    return f"{len(step.build.sections)} sect.", ""


def _suite_word(step: PatchRecord, suite: SuiteRecord | None) -> tuple[str, str]:
    if suite is None:
        same = step.build is not None and step.build.same_as is not None
        return ("inherited", DIM) if same else ("", "")
    broken = count(suite, Change.BROKEN, Change.GONE)
    mended, before = count(suite, Change.MENDED), count(suite, Change.BEFORE, Change.SINCE)
    words = [f"{broken} broken"] if broken else []
    words += [f"{suite.passed}/{suite.cells}"] if not broken else []
    words += [f"+{mended}"] if mended else []
    if suite.skipped == suite.cells:
        return "all skipped", YELLOW
    return " ".join(words), RED if broken else YELLOW if before else GREEN


def count(suite: SuiteRecord, *changes: Change) -> int:
    """How many of a suite's cells had one of these changes."""
    return sum(one.change in changes for one in suite.told)


def cost_word(step: PatchRecord) -> tuple[str, str]:
    """The largest relative change of a cost: ``+5.1 %``."""
    bench = next((suite for suite in step.suites if suite.suite == "bench"), None)
    if bench is None or not bench.passed:
        return ("not run", YELLOW) if bench else ("", "")
    largest = max(step.costs, key=lambda one: abs(one.now - one.before) / max(one.before, 1), default=None)
    if largest is None:
        return "same", GREEN
    change = 100 * (largest.now / max(largest.before, 1) - 1)
    return f"{change:+.1f} %", YELLOW if change > 1 else ""


def told_lines(record: ValidateRecord) -> Iterator[tuple[str, str]]:
    """What is below the table: what is wrong, with the shortest proof and the line that repeats it, then
    remarks; each line with its colour."""
    for series in record.series:
        for step in series.steps:
            yield from step_lines(step)


def step_lines(step: PatchRecord) -> Iterator[tuple[str, str]]:
    """What there is to say of one patch; each line with its colour."""
    head = f"patch {step.number}"
    if step.misfit:
        yield f"{head} does not apply: {step.misfit}", RED
        if step.changed_by:
            yield f"  that place was last changed by {step.changed_by}", ""
        yield from ((f"  | {one}", "") for one in step.proof.splitlines()[:12])
    if step.build and step.build.error:
        yield f"{head} does not build: {step.build.error}", RED
        log = step.build.said.rpartition("whole log: ")[2] if "whole log: " in step.build.said else ""
        if log:
            yield f"  log: {log}", ""
    for warning in step.build.new_warnings if step.build else ():
        yield f"{head}: new warning: {warning}", YELLOW
    yield from ((f"{head}: an error of the harness or the host: {error}", RED) for error in step.errors)
    for suite in step.suites:
        yield from _of_suite(head, suite)
    for one in step.costs[:8]:
        change = 100 * (one.now / max(one.before, 1) - 1)
        yield f"{head}: cost of {one.metric}: {one.before} -> {one.now} ({change:+.1f} %)", ""
    if len(step.costs) > 8:
        yield f"{head}: {len(step.costs) - 8} other costs changed by less (validate.json)", DIM
    for remark in step.remarks:
        yield f"{head}: {remark}", YELLOW
    if step.outside:
        yield f"{head}: neither built nor run: {', '.join(step.outside)}", YELLOW


def _of_suite(head: str, suite: SuiteRecord) -> Iterator[tuple[str, str]]:
    for change, colour in ((Change.BROKEN, RED), (Change.GONE, RED)):
        for one in _these(suite, change):
            whose = f" of {one.layer}" if one.layer else ""
            name = one.cell.split("/", 2)[-1]
            yield f"{head}: {one.change}: {name}: {one.verdict}{whose} (was: {one.was})", colour
            if one.reason:
                yield f"  {printable(one.reason)}", ""
            if one.reproduce:
                yield f"  again: {one.reproduce}", ""
    if suite.skipped:
        yield f"{head}: {suite.suite}: {suite.skipped} of {suite.cells} cells were skipped", DIM
    mended = _these(suite, Change.MENDED)
    if mended:
        yield f"{head}: {suite.suite}: mends {_names(mended)}", GREEN
    since = _these(suite, Change.SINCE)
    if since:
        numbers = ", ".join(str(n) for n in sorted({one.since for one in since}))
        yield f"{head}: {suite.suite}: still bad since patch {numbers}: {_names(since)}", YELLOW
    if before := _these(suite, Change.BEFORE):
        yield f"{head}: {suite.suite}: as before: {_names(before)}", DIM


def _these(suite: SuiteRecord, change: Change) -> list[ToldRecord]:
    return [one for one in suite.told if one.change == change]


def _names(told: Sequence[ToldRecord]) -> str:
    names = [one.cell.split("/", 4)[-1].rpartition("/")[0].partition("::")[2] for one in told]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} cells: {', '.join(names[:3])}{more}" if len(names) > 1 else names[0]


def verdict_line(record: ValidateRecord) -> str:
    """The last line: the verdict, and how long it took."""
    steps = [step for series in record.series for step in series.steps if step.number]
    red = [str(step.number) for step in steps if step.verdict not in (Verdict.PASS, None)]
    unjudged = [str(step.number) for step in steps if step.verdict is None]
    words = [f"{len(steps)} patches"]
    words += [f"red: {', '.join(red)}"] if red else []
    words += [f"not judged: {', '.join(unjudged)}"] if unjudged else []
    words += ["nothing is broken"] if not red and not unjudged and steps else []
    words += ["stopped at the first red patch"] if record.state == "stopped" else []
    return f"{record.verdict}: {'; '.join(words)}; {duration(record.seconds)}"


def print_end(record: ValidateRecord, *, file: TextIO) -> None:
    """Print what is below the table, and the verdict."""
    width = None if file.isatty() else 220
    console = Console(file=file, width=width, no_color=not file.isatty(), highlight=False)
    console.print()
    for text, colour in told_lines(record):
        console.print(Text(printable(text), style=colour), soft_wrap=True)
    good = record.verdict is Verdict.PASS
    console.print(Text(verdict_line(record), style=GREEN if good else RED), soft_wrap=True)
