# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes ``run.json`` during a run, and times its steps.

An atomic rename replaces the whole file at each change, so a reader always
sees a complete document, even after the run was killed by SIGKILL.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from harness.core.errors import InfraError
from harness.run.record import RUN_JSON, RunRecord, StepRecord


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


@dataclass
class Recorder:
    """Writes a RunRecord to ``run.json``.

    Args:
        run_dir: this run's folder, which must exist.
        record: the document; change it, then call ``save``.
        timed: source of the finished steps, if any.
    """

    run_dir: Path
    record: RunRecord
    timed: Timed | None = None
    _under_way: list[_UnderWay] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.run_dir / RUN_JSON

    def save(self) -> None:
        """Replace run.json by the record's current state.

        Raises:
            InfraError: the file cannot be written; the old one stays intact.
        """
        record = self.record
        record.updated = now()
        record.seconds = round(
            (datetime.fromisoformat(record.updated) - datetime.fromisoformat(record.started)).total_seconds(),
            3,
        )
        if self.timed is not None:
            record.steps = [StepRecord(step=name, seconds=round(sec, 3)) for name, sec in self.timed.timings]
        text = msgspec.json.format(msgspec.json.encode(record), indent=2)
        # Beside the target, since a rename is only atomic within one file system. No fsync: the record must
        # survive SIGKILL, not a power failure, and tests may save often; close() syncs once at the end.
        fresh = self.path.with_suffix(".json.new")
        try:
            fresh.write_bytes(text + b"\n")
            fresh.replace(self.path)
        except OSError as e:
            raise InfraError(
                f"cannot write {self.path}: {e.strerror}",
                hint="Free some space (evh clean shows what uses it), or name another folder with --run-dir.",
            ) from e

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
        self.save()
        fd = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

