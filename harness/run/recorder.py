# SPDX-License-Identifier: GPL-2.0-or-later
"""``run.json``: what one run is, does and found, current at every moment.

The schema is the Structs below; ``docs/run.json.md`` explains it for people.
The file is replaced whole by an atomic rename at each change, so whoever
reads it, also after SIGKILL of the run, sees a complete document.
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
    """Time as run.json writes it: UTC, whole milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class _UnderWay:
    what: str
    started: float = field(default_factory=time.monotonic)
    within: float = 0.0


@dataclass
class Recorder:
    """Keeps ``run.json`` in step with a RunRecord.

    Args:
        run_dir: an existing folder of this run's own.
        record: the document; change it, then call ``save``.
        timed: where finished steps are read from, if anywhere.
    """

    run_dir: Path
    record: RunRecord
    timed: Timed | None = None
    _under_way: list[_UnderWay] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.run_dir / RUN_JSON

    def save(self) -> None:
        """Replace run.json by the record's present state.

        Raises:
            InfraError: the disk is full or gone; the old file stays whole.
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
        # Beside the target, since a rename is atomic within one file system only. No fsync: it is
        # SIGKILL that the record must survive, and a test may save often; close() pays for the last one.
        fresh = self.path.with_suffix(".json.new")
        try:
            fresh.write_bytes(text + b"\n")
            fresh.replace(self.path)
        except OSError as e:
            raise InfraError(
                f"cannot write {self.path}: {e.strerror}",
                hint="Free some space (evh clean shows what takes it), or name another place by --run-dir.",
            ) from e

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say in run.json what is under way, for the reader of a killed run, and time it.

        Time spent in a ``doing`` inside another counts for the inner one
        alone, so that ``timings`` adds up to the whole run. After an error
        the words stay, so that the record tells where it was.
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
        """Write the last state through to the disk."""
        self.save()
        fd = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

