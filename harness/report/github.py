# SPDX-License-Identifier: GPL-2.0-or-later
"""What GitHub Actions shows of a run: the summary of a step, and annotations."""

from __future__ import annotations

from harness.core.records import Verdict
from harness.core.text import duration, printable
from harness.report.tables import headline, why
from harness.run.record import RunRecord, TestResult

# GitHub drops a summary of more than 1 MiB as a whole, and shows no more than 10 annotations of each kind
# and step (docs.github.com: workflow commands for GitHub Actions).
SUMMARY_BYTES = 1 << 20
ANNOTATIONS = 10
# What Markdown or HTML would not show as it is.
ESCAPED = {ord(char): f"&#{ord(char)};" for char in "\\`*_[]<>|#&~"}
EVIDENCE_LINES = 30


def summary(record: RunRecord) -> str:
    """The run as Markdown, below GitHub's limit: the verdict, what is red, then as many consoles as fit."""
    red = [test for test in record.tests if test.verdict not in (Verdict.PASS, Verdict.SKIP)]
    out = [f"## {record.verdict or record.state}: {_text(headline(record))}", ""]
    out += [f"* {_text(note)}" for note in record.notes]
    out += [f"* {_text(part.id)}: {_text(part.problem)}" for part in record.parts if part.problem]
    out += ["", f"{duration(record.seconds)}; again: {_code(record.reproduce)}", ""]
    if red:
        out += ["| verdict | cell | why |", "|---|---|---|"]
        out += [f"| {_verdict(test)} | {_code(test.cell)} | {_text(why(test))} |" for test in red]
    return _fitting(out, [_evidence(test) for test in red if test.evidence])


def _verdict(test: TestResult) -> str:
    return str(test.verdict or "unfinished")


def _fitting(head: list[str], details: list[str]) -> str:
    """The head, and as many details as fit; what is left out is counted."""
    room = SUMMARY_BYTES - 1024
    lines: list[str] = []
    used = 0
    for kind, each in (("lines", head), ("consoles", details)):
        for at, line in enumerate(each):
            used += len(line.encode()) + 1
            if used > room:
                left = f"\n{len(each) - at} more {kind} are in the report, since GitHub shows at most 1 MiB."
                return "\n".join([*lines, left, ""])
            lines.append(line)
    return "\n".join([*lines, ""])


def _evidence(test: TestResult) -> str:
    lines = printable(test.evidence).splitlines()[-EVIDENCE_LINES:]
    # A fence of four: console lines may hold one of three.
    text = "\n".join(line.replace("````", "'''") for line in lines)
    return f"\n<details><summary>{_text(test.cell)}</summary>\n\n````text\n{text}\n````\n\n</details>"


def _text(text: str) -> str:
    """One line of Markdown that shows ``text`` as it is."""
    return printable(text).replace("\n", " ").replace("\t", " ").translate(ESCAPED)


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def workflow_commands(record: RunRecord) -> str:
    """Workflow commands: errors for what is red, warnings for what is held back; at most ten of each."""
    errors, warnings = [], []
    if record.error is not None or record.state != "finished":
        errors.append(("the run itself", headline(record)))
    for test in record.tests:
        if test.quarantine or test.flaky:
            warnings.append((test.cell, f"{_verdict(test)}: {why(test)}"))
        if test.verdict not in (Verdict.PASS, Verdict.SKIP) and not test.quarantine:
            errors.append((test.cell, f"{_verdict(test)}: {why(test)}"))
    return _commands("error", errors) + _commands("warning", warnings)


def _commands(kind: str, found: list[tuple[str, str]]) -> str:
    if len(found) > ANNOTATIONS:
        left = len(found) - ANNOTATIONS + 1
        found = [*found[: ANNOTATIONS - 1], (f"{left} more", "The summary and the report have all of them.")]
    return "".join(f"::{kind} title={_property(title)}::{_data(text)}\n" for title, text in found)


def _data(text: str) -> str:
    """Escaped as GitHub's toolkit does (packages/core/src/command.ts)."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
