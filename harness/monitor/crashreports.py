# SPDX-License-Identifier: GPL-2.0-or-later
"""Group console lines into crash reports: one crash is one report.

A report begins with a crash line and goes on until the line that ends reports of
its kind. Crash lines within it that only say more about the same crash, such as
"Oops:" after "BUG:", or a panic after an oops, belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from harness.monitor.crashlines import Recognized, pieces, recognize
from harness.monitor.crashtable import CrashLine, Severity

# Said once in each boot. Xen's banner is not: the debug key "h" prints it, too (4.22).
_BOOTS = re.compile(r"^\(XEN\)(?: \[[^]]*\])? Command line:|^(?:\[[^]]*\] ?)*Linux version \d")

# Lines. A report whose end does not come, since the machine stopped or the line was lost, ends here.
MOST_LINES = 150


@dataclass(frozen=True, kw_only=True)
class Report:
    """One crash.

    Attributes:
        layer: the layer that crashed.
        printer: the layer whose console has the report.
        severity: of its worst line.
        line: the line that it begins with.
        meaning: what happened, where the line alone does not say it.
        first, last: numbers of its first and last line so far.
        ended: whether no further line belongs to it.
        passed: whether it was passed over, because it was expected or is known.
    """

    layer: str
    printer: str
    severity: Severity
    line: str
    meaning: str = ""
    first: int
    last: int
    ended: bool = False
    passed: bool = False


class CrashReports:
    """Collects the reports of one machine, line by line.

    Args:
        passes: called with the layer that crashed, the line and its severity when a report begins;
            returns whether to pass over the report.
        dom0_must_stay: whether it is a crash that dom0 shuts the machine down.
    """

    def __init__(
        self, *, passes: Callable[[str, str, Severity], bool] = lambda *_: False, dom0_must_stay: bool = False
    ) -> None:
        self._passes = passes
        self._dom0_must_stay = dom0_must_stay
        self._reports: list[Report] = []
        self._open: dict[str, _Open] = {}  # the latest report of each printer, while lines may belong to it
        self._names: dict[str, str] = {}

    def take(self, number: int, printer: str, line: str) -> Report | None:
        """Take the next line of a console.

        Args:
            number: of the line; grows from line to line.
            printer: the layer that printed it.
        Returns: the report that it begins; None if it begins none, or if the report is passed over.
        """
        if _BOOTS.search(line):
            self._boots(printer)
        found = recognize(printer, line, dom0_must_stay=self._dom0_must_stay)
        opened = self._open.get(printer)
        if opened is not None:
            if found is None or self._belongs(self._reports[opened.index], opened, found, line):
                self._extend(printer, number, line, found)
                return None
        elif found is None:
            return None
        assert found is not None
        layer = self._names.get(found.layer, found.layer)
        report = Report(
            layer=layer, printer=printer, severity=found.row.severity, line=line, first=number, last=number,
            meaning=found.row.meaning,
            passed=self._passes(layer, line, found.row.severity),
        )  # fmt: skip
        self._reports.append(report)
        self._open[printer] = _Open(index=len(self._reports) - 1, row=found.row)
        if not _goes_on(report, found.row):
            self._close(printer)
        return None if report.passed else report

    def end(self, printer: str) -> None:
        """A console has ended: no further line belongs to its latest report."""
        if printer in self._open:
            self._close(printer)

    def _boots(self, printer: str) -> None:
        """A layer boots again, and with Xen all others."""
        for layer in list(self._open) if printer == "xen" else [printer]:
            self.end(layer)

    def name(self, domain: str, layer: str) -> None:
        """Attribute reports about ``domain`` (``dom3``), past and future, to ``layer``."""
        self._names[domain] = layer
        self._reports = [
            self._renamed(report, layer) if report.layer == domain else report for report in self._reports
        ]

    def _renamed(self, report: Report, layer: str) -> Report:
        """A report of a layer whose name is known only now; whether to pass over it is asked again."""
        passed = report.passed or self._passes(layer, report.line, report.severity)
        return replace(report, layer=layer, passed=passed)

    @property
    def reports(self) -> list[Report]:
        """All reports so far, in order, with those passed over."""
        return list(self._reports)

    def _belongs(self, report: Report, opened: _Open, found: Recognized, line: str) -> bool:
        """Whether a crash line within a report says more about the same crash."""
        if self._names.get(found.layer, found.layer) != report.layer:
            return False
        if opened.ended_by(line):
            return True  # "---[ end Kernel panic" repeats the words of the panic
        if report.passed and found.row.severity > report.severity:
            return False  # what is known or expected must not hide something worse
        if report.passed:
            # At most the one line that the first one announces: another oops is another crash.
            return found.row.follows and opened.row.leads
        return found.row.follows or found.row.severity is Severity.PANIC

    def _extend(self, printer: str, number: int, line: str, found: Recognized | None) -> None:
        opened = self._open[printer]
        report = self._reports[opened.index]
        severity = max(report.severity, found.row.severity) if found else report.severity
        self._reports[opened.index] = replace(report, last=number, severity=severity)
        ended = opened.ended_by(line)
        if found is not None and not ended:
            opened.row = found.row
        opened.lines += 1
        if ended or opened.lines >= MOST_LINES:
            self._close(printer)

    def _close(self, printer: str) -> None:
        opened = self._open.pop(printer)
        self._reports[opened.index] = replace(self._reports[opened.index], ended=True)


@dataclass
class _Open:
    """A report that further lines may belong to.

    Attributes:
        index: among the reports.
        row: the kind of its latest crash line, which determines the line that ends it.
        lines: how many it has.
    """

    index: int
    row: CrashLine
    lines: int = 1

    def ended_by(self, line: str) -> bool:
        return bool(self.row.end) and re.search(self.row.end, line) is not None


def _goes_on(report: Report, row: CrashLine) -> bool:
    """Whether further lines may belong to a report that a line of this kind begins."""
    # Xen's panics end with the machine, and the lines until then are about nothing else.
    return bool(row.end) or (report.printer == "xen" and row.severity is Severity.PANIC)


def first_crash(
    lines: Iterable[str],
    *,
    other: str,
    passes: Callable[[str, str, Severity], bool] = lambda *_: False,
) -> Report | None:
    """The first crash on a recorded console that is not passed over.

    Args:
        lines: with or without line ends.
        other: the layer of what Xen did not print.
        passes: as for ``CrashReports``.
    """
    reports = CrashReports(passes=passes)
    for number, line in enumerate(lines):
        for printer, text in pieces(line, other=other):
            if report := reports.take(number, printer, text.strip()):
                return report
    return None
