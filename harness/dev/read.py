# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh read`: judge a console that somebody else recorded, by the code that judges a run."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.core.text import printable
from harness.monitor import ktap
from harness.monitor.crashlines import is_xen, recognize
from harness.monitor.crashreports import CrashReports, Report
from harness.monitor.knownissues import KnownIssues
from harness.monitor.serial import SerialSplitter
from harness.run.judge import judge_run

# gzip, xz, zstd, and UTF-16's byte order marks.
_NO_TEXT = (b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xfe\xff")
LAYERS = ("serial", "xen", "dom0", "guest")
# A line of the harness' own consoles.log: time, layer, text.
_MERGED = re.compile(r"\[ *\d+\.\d{3}\] (xen|qemu|dom\d+|guest:[^:]+): ")


@dataclass(frozen=True, kw_only=True)
class CrashRead:
    """A crash report in a recorded console.

    Attributes:
        layer: the layer that crashed.
        severity: ``warning``, ``oops`` or ``panic``.
        number: of its first line, from 1; lines of a shared serial port count in the order of their ends.
        known: whether it is a known issue, which does not count.
        lines: of the report.
    """

    layer: str
    severity: str
    number: int
    known: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the judge sees in one file.

    Attributes:
        file: its name, ``-`` for standard input.
        layers: number of lines by the layer that printed them.
        crashes: in order.
        ktap: KTAP documents.
        verdict, reason: of the file.
    """

    file: str
    layers: dict[str, int]
    crashes: tuple[CrashRead, ...]
    ktap: tuple[ktap.Results, ...]
    verdict: Verdict
    reason: str


def read_files(names: Sequence[str], *, layer: str = "", known: KnownIssues | None = None) -> list[Reading]:
    """Judge recorded consoles.

    Args:
        names: files; ``-`` is standard input.
        layer: who printed them, one of ``LAYERS``; ``serial`` is the port that Xen and dom0 share; empty:
            ``serial`` if the file has a line of Xen's, else ``guest``.
        known: crashes that do not count.

    Raises:
        UserError: a file cannot be read.
    """
    return [judge(name, _bytes_of(name), layer=layer, known=known or KnownIssues()) for name in names]


def worst(readings: Iterable[Reading]) -> Verdict:
    """The verdict of several files; one that shows nothing is not made good by the others."""
    verdicts = [reading.verdict for reading in readings]
    worst_of_all = judge_run(verdicts)
    return Verdict.SKIP if worst_of_all is Verdict.PASS and Verdict.SKIP in verdicts else worst_of_all


def _bytes_of(name: str) -> bytes:
    try:
        if name == "-" and sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}", hint="Name a console file, or -.") from error
    if data.startswith(_NO_TEXT) or data.count(b"\0") * 4 > len(data) > 0:
        raise UserError(
            f"{name} is not a console's text: it is compressed, or in another encoding than UTF-8",
            hint="Unpack or convert it first, for example with zcat or iconv.",
        )
    return data


def judge(name: str, data: bytes, *, layer: str, known: KnownIssues) -> Reading:
    """Judge one console; arguments as for ``read_files``."""
    lines = list(_lines_of(data, layer=layer))
    reports = CrashReports(passes=known.passes)
    layers: dict[str, int] = {}
    texts: dict[str, list[str]] = {}
    for number, (printer, text) in enumerate(lines):
        layers[printer] = layers.get(printer, 0) + 1
        texts.setdefault(printer, []).append(text)
        reports.take(number, printer, text)
    crashes = tuple(_crash(report, lines) for report in reports.reports)
    documents = tuple(document for part in texts.values() for document in ktap.documents(part))
    verdict, reason = _verdict(len(lines), crashes, documents)
    return Reading(
        file=os.fsencode(name).decode("utf-8", "replace"), layers=layers, crashes=crashes, ktap=documents,
        verdict=verdict, reason=reason,
    )  # fmt: skip


def _lines_of(data: bytes, *, layer: str) -> Iterable[tuple[str, str]]:
    """Each line with the layer that printed it, in order of their ends."""
    text = data.decode("utf-8", "replace").replace("\r", "")
    if not layer and _MERGED.match(text):
        for line in text.splitlines():
            merged = _MERGED.match(line)
            yield (merged[1], line[merged.end() :]) if merged else ("guest", line)
        return
    if layer != "serial" and (layer or "(XEN) " not in text):
        for line in text.splitlines():
            yield layer or "guest", line
        return
    splitter = SerialSplitter()
    partial: dict[str, bytes] = {}
    for printer, piece in (*splitter.feed(data), *splitter.flush()):
        *whole, partial[printer] = (partial.get(printer, b"") + piece).split(b"\n")
        for raw in whole:
            yield _of_a_late_start(printer, raw)
    for printer, raw in partial.items():
        if raw:
            yield _of_a_late_start(printer, raw)


def _of_a_late_start(printer: str, raw: bytes) -> tuple[str, str]:
    """A line with its layer; a recording that starts late may have dom0's lines before Xen's first one."""
    text = raw.decode("utf-8", "replace").replace("\r", "")
    late = printer == "xen" and not is_xen(text) and recognize("dom0", text) is not None
    return "dom0" if late else printer, text


def _crash(report: Report, lines: Sequence[tuple[str, str]]) -> CrashRead:
    said = [text for printer, text in lines[report.first : report.last + 1] if printer == report.printer]
    return CrashRead(
        layer=report.layer, severity=report.severity.name.lower(), number=report.first + 1,
        known=report.passed, lines=tuple(said),
    )  # fmt: skip


def _verdict(
    count: int, crashes: Sequence[CrashRead], documents: Sequence[ktap.Results]
) -> tuple[Verdict, str]:
    bad = [crash for crash in crashes if not crash.known]
    if bad:
        return Verdict.CRASH, f"{bad[0].layer}: {bad[0].lines[0].strip()}"
    for document in documents:
        if document.problem:
            return Verdict.CRASH, f"the tests ended early: {document.problem}"
    cases = [case for document in documents for case in _all(document.cases)]
    if failed := [case.name for case in cases if not case.ok]:
        return Verdict.FAIL, f"failed: {', '.join(failed)}"
    if cases and all(case.skipped for case in cases):
        return Verdict.SKIP, f"all tests were skipped, such as {cases[0].name}: {cases[0].skipped}"
    if not count:
        return Verdict.SKIP, "there is nothing in it"
    return Verdict.PASS, ""


def text_of(readings: Sequence[Reading], *, most: int = 40) -> str:
    """The readings for people, with the first lines of each crash report.

    Args:
        most: lines shown of each report.
    """
    out: list[str] = []
    for reading in readings:
        whose = ", ".join(f"{count} of {layer}" for layer, count in sorted(reading.layers.items()))
        out.append(f"{reading.file}: {whose or 'no'} lines")
        for crash in reading.crashes:
            known = ", known" if crash.known else ""
            out.append(f"  line {crash.number}: {crash.severity} of {crash.layer}{known}")
            out += [f"    | {printable(line)}" for line in crash.lines[:most]]
            if len(crash.lines) > most:
                out.append(f"    | ({len(crash.lines) - most} more lines)")
        for document in reading.ktap:
            out.append(f"  KTAP: {document.problem or f'{len(document.cases)} results'}")
            out += _tree(document.cases, "    ")
            if document.unfinished is not None:
                out.append(f"    {document.unfinished.name or 'a subtest'}: has no result")
                out += _tree(document.unfinished.cases, "      ")
        out.append(f"  {reading.verdict}" + (f": {printable(reading.reason)}" if reading.reason else ""))
    return "\n".join(out)


def _all(cases: Sequence[ktap.Case]) -> Iterator[ktap.Case]:
    """The cases and those below them."""
    for case in cases:
        yield case
        yield from _all(case.children)


def _tree(cases: Sequence[ktap.Case], indent: str) -> list[str]:
    out = []
    for case in cases:
        said = "skip" if case.skipped else "ok" if case.ok else "not ok"
        why = f": {case.skipped}" if case.skipped else ""
        out.append(f"{indent}{said} {printable(case.name + why)}")
        out += [f"{indent}  # {printable(line)}" for line in case.diagnostics if not case.ok]
        out += _tree(case.children, indent + "  ")
    return out
