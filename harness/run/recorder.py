# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes ``run.json`` during a run, and times its steps.

An atomic rename replaces the whole file, so a reader always sees a complete
document, even after the run was killed by SIGKILL. In a run of thousands of
short cells it is not replaced at each change; then the changes in between are
in a journal, which ``record.load`` reads too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from harness.core.errors import InfraError
from harness.core.files import write_all
from harness.core.text import each_text
from harness.run.record import GROWING, JOURNAL, RUN_JSON, Addition, RunRecord, StepRecord


class Timed(Protocol):
    """The part of ``progress.Progress`` that the record reads."""

    @property
    def timings(self) -> list[tuple[str, float]]: ...


def now() -> str:
    """The current time in the format of run.json: UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class _UnderWay:
    what: str
    started: float = field(default_factory=time.monotonic)
    within: float = 0.0


# Seconds that writing run.json may take: so many, and this share of the run's time. A save beyond that adds a
# line to the journal instead: a file that is written anew for each of thousands of cells takes minutes.
ALLOWANCE = 1.0
SHARE = 0.02


@dataclass
class Recorder:
    """Writes a RunRecord to ``run.json``, and what is too costly to write there at once to a journal.

    Args:
        run_dir: this run's folder, which must exist.
        record: the document; change it, then call ``save``.
        timed: source of the finished steps, if any.
        began: when the run started, on the monotonic clock.
        ended: the run has ended before, so its seconds stay as they are.

    Attributes:
        failure: the error of the last save that failed.
    """

    run_dir: Path
    record: RunRecord
    timed: Timed | None = None
    began: float = field(default_factory=time.monotonic)
    ended: bool = False
    failure: InfraError | None = None
    _under_way: list[_UnderWay] = field(default_factory=list)
    _spent: float = 0.0
    _journal: BinaryIO | None = None
    _saved: dict[str, int] = field(default_factory=dict)  # length of each list at the last save

    @property
    def path(self) -> Path:
        return self.run_dir / RUN_JSON

    def save(self, *, whole: bool = False) -> None:
        """Bring the files up to the record's current state.

        Args:
            whole: the change is more than an addition to the record's lists: write run.json itself.

        Raises:
            InfraError: a file cannot be written; run.json stays intact.
        """
        record = self.record
        record.updated = now()
        # Not the difference of the two times: somebody may set the clock.
        if not self.ended:
            record.seconds = round(time.monotonic() - self.began, 3)
        due = self._spent <= ALLOWANCE + SHARE * (time.monotonic() - self.began)
        try:
            if whole or due or not self._saved:
                self._write()
            else:
                self._add()
        except OSError as e:
            self._saved.clear()  # the journal may end in half a line
            self.failure = InfraError(
                f"cannot write {self.path}: {e.strerror}",
                hint="Free some space (evh clean shows what uses it), or name another folder with --run-dir.",
            )
            raise self.failure from e
        self._saved = {name: len(getattr(record, name)) for name in ("tests", *GROWING)}

    def _write(self) -> None:
        """Replace run.json."""
        began = time.monotonic()
        if self.timed is not None:
            self.record.steps = [
                StepRecord(step=name, seconds=round(sec, 3)) for name, sec in self.timed.timings
            ]
        self.record.revision += 1
        text = msgspec.json.format(encoded(self.record), indent=2)
        # Beside the target, since a rename is only atomic within one file system. No fsync: the record must
        # survive SIGKILL, not a power failure, and tests may save often; close() syncs once at the end.
        fresh = self.path.with_suffix(".json.new")
        fresh.write_bytes(text + b"\n")
        fresh.replace(self.path)
        if self._journal is not None:
            self._journal.truncate(0)  # its lines name an older revision, so a kill before this does no harm
        self._spent += time.monotonic() - began

    def _add(self) -> None:
        """Add what is new since the last save to the journal."""
        record, saved = self.record, self._saved
        first = max(0, saved["tests"] - 1)  # it may have ended since
        line = Addition(
            revision=record.revision,
            updated=record.updated,
            seconds=record.seconds,
            doing=record.doing,
            first=first,
            tests=record.tests[first:],
            **{name: getattr(record, name)[saved[name] :] for name in GROWING},
        )
        if self._journal is None:
            self._journal = (self.run_dir / JOURNAL).open("ab", buffering=0)
        write_all(self._journal, encoded(line) + b"\n")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Record the current step in run.json, so that a killed run shows it, and time it.

        The time of a nested ``doing`` counts only for the inner one, so that
        ``timings`` adds up to the whole run. After an error ``record.doing``
        keeps its value, so that the record shows where the error occurred.
        """
        outer = self._under_way[-1] if self._under_way else None
        mine = _UnderWay(what=what)
        self._under_way.append(mine)
        self.record.doing = what
        self.save()
        try:
            yield
            self.record.doing = outer.what if outer else ""
        finally:
            self._under_way.pop()
            spent = time.monotonic() - mine.started
            if outer is not None:
                outer.within += spent
            self.record.timings.append(StepRecord(step=what, seconds=round(spent - mine.within, 3)))
            self.save()

    def close(self) -> None:
        """Write the final state and sync it to disk."""
        self.save(whole=True)
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            (self.run_dir / JOURNAL).unlink()
        fd = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def encoded(document: msgspec.Struct) -> bytes:
    """JSON of a document; what is not valid Unicode in it, such as a file's name, is spelled out."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        plain = each_text(
            msgspec.to_builtins(document), lambda text: text.encode(errors="backslashreplace").decode()
        )
        return msgspec.json.encode(plain)
