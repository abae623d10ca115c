# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: crash lines that a run passes over, and counts.

    # known-issues.toml
    [[issue]]
    layer = "guest"                  # xen, dom0, guest (any), guest:NAME, bare, xtf or linux
    pattern = 'WARNING: .*drivers/net/foo\\.c'
    why = "foo warns when its queue is full; harmless"
    until = 2027-03-31               # the last day on which it is passed over
    link = "https://..."             # optional

A panic is never passed over: the layer has stopped.

    [[quarantine]]
    cell = "*/pv64/3l/stress::test_storm*"   # id of a flaky cell; * stands for anything
    why = "loses an event once in a hundred nights; being looked at"
    until = 2027-03-31
    link = "https://..."             # optional

A cell in quarantine may fail or hang without making the run red; a crash or an error still does.
"""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.core.errors import UserError
from harness.monitor.crashtable import Severity

FILE = "known-issues.toml"
LAYERS = ("xen", "dom0", "guest", "bare", "xtf", "linux")


class KnownIssue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file.

    Attributes:
        layer: the layer that crashes; ``guest`` for any guest.
        pattern: regular expression, searched in the first line of the crash report.
        why: why it may be passed over.
        until: the last day on which it is passed over.
        link: where it is reported.
    """

    layer: str
    pattern: str
    why: str
    until: datetime.date
    link: str = ""

    def matches(self, layer: str, line: str) -> bool:
        """Whether it stands for a crash of ``layer`` that begins with ``line``."""
        whose = layer == self.layer or (self.layer == "guest" and layer.startswith("guest:"))
        return whose and re.search(self.pattern, line) is not None


class Quarantine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A flaky cell: its id, in which ``*`` stands for anything. Other fields as in ``KnownIssue``."""

    cell: str
    why: str
    until: datetime.date
    link: str = ""

    def matches(self, cell: str) -> bool:
        """Whether it stands for the cell of this id."""
        return re.fullmatch(re.escape(self.cell).replace(r"\*", ".*"), cell, re.DOTALL) is not None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issue: tuple[KnownIssue, ...] = ()
    quarantine: tuple[Quarantine, ...] = ()


def load(path: Path) -> tuple[KnownIssue, ...]:
    """The known issues in a file.

    Raises:
        UserError: it cannot be read, or an entry is not valid.
    """
    return _read(path).issue


def load_quarantine(path: Path) -> tuple[Quarantine, ...]:
    """The cells in quarantine in a file of known issues.

    Raises:
        UserError: it cannot be read, or an entry is not valid.
    """
    return _read(path).quarantine


def _read(path: Path) -> _File:
    try:
        file = msgspec.toml.decode(path.read_text(), type=_File)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint="Name an existing file.") from error
    except (msgspec.DecodeError, ValueError) as error:  # a ValidationError is a DecodeError
        raise UserError(
            f"{path} is not a valid file of known issues: {error}",
            hint="docs/verdicts.md shows the format; `until` is a date without quotes.",
        ) from error
    problems = [(number, one.pattern, _problem(one)) for number, one in enumerate(file.issue, 1)]
    problems += [(number, one.cell, _problem_of(one)) for number, one in enumerate(file.quarantine, 1)]
    for number, what, problem in problems:
        if problem:
            raise UserError(
                f"{path}: entry {number} ({what!r}): {problem}", hint="docs/verdicts.md shows the format."
            )
    return file


def _problem_of(entry: Quarantine) -> str:
    if not entry.why.strip():
        return "`why` is empty"
    if not entry.cell.replace("*", "").strip("/ "):
        return "it would put every cell in quarantine"
    return ""


def _problem(entry: KnownIssue) -> str:
    if entry.layer not in LAYERS and not re.fullmatch(r"guest:.+", entry.layer):
        return f"the layer {entry.layer!r} is none of {', '.join(LAYERS)}, guest:NAME"
    if not entry.why.strip():
        return "`why` is empty"
    try:
        pattern = re.compile(entry.pattern)
    except re.error as error:
        return f"the pattern is not a regular expression: {error}"
    if pattern.search(""):
        return "the pattern matches every line"
    return ""


class KnownIssues:
    """The known issues of one run, with how often each was seen. Threads may share it.

    Args:
        entries: as ``load`` returns them.
        today: the date that expires entries.
    """

    def __init__(self, entries: Sequence[KnownIssue] = (), *, today: datetime.date | None = None) -> None:
        self.entries = tuple(entries)
        self._today = today or datetime.date.today()
        self._seen = [0] * len(self.entries)
        self._late = [0] * len(self.entries)
        self._lock = threading.Lock()

    def passes(self, layer: str, line: str, severity: Severity) -> bool:
        """Whether to pass over a crash report, which is then counted.

        Args:
            layer: the layer that crashed.
            line: the first line of the report.
            severity: of the report; a panic is never passed over.
        """
        if severity is Severity.PANIC:
            return False
        for at, entry in enumerate(self.entries):
            if not entry.matches(layer, line):
                continue
            with self._lock:
                if entry.until < self._today:
                    self._late[at] += 1
                    continue
                self._seen[at] += 1
            return True
        return False

    @property
    def total(self) -> int:
        """How many reports have been passed over."""
        with self._lock:
            return sum(self._seen)

    def counts(self) -> list[tuple[KnownIssue, int]]:
        """Each entry, with the number of reports that it has passed over."""
        with self._lock:
            return list(zip(self.entries, self._seen, strict=True))

    def complaints(self) -> list[str]:
        """What the owner of the file should look at: entries that have expired or matched nothing."""
        said = []
        for at, entry in enumerate(self.entries):
            what = f"known issue {entry.pattern!r} ({entry.layer})"
            if entry.until < self._today:
                seen = f", and it was seen {self._late[at]} times" if self._late[at] else ""
                said.append(f"{what} expired on {entry.until}{seen}")
            elif not self._seen[at]:
                said.append(f"{what} matched nothing in this run")
        return said
