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

from harness.errors import InfraError, UserError
from harness.model import Verdict

SCHEMA = 1
RUN_JSON = "run.json"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the limits table; every count comes from the receiver.

    Attributes:
        opened: ports open at once.
        sent: events sent, at most one per port and round, so none may merge.
        seen: events the receiving side counted.
        lost: ports that were sent to and not seen.
        doubled: events seen once more than they were sent.
        seconds: wall-clock time of opening, sending and receiving.
        guest_bytes_per_port, xen_bytes_per_port: memory that opening took,
            divided by ``opened``; None where it was not measured.
    """

    test: str = ""
    abi: str
    guest: str
    path: str
    opened: int
    sent: int
    seen: int
    lost: int
    doubled: int
    seconds: float
    guest_bytes_per_port: float | None = None
    xen_bytes_per_port: float | None = None
    note: str = ""


class TestResult(msgspec.Struct, kw_only=True):
    """How one cell ended. ``layer`` says whose crash it was."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    cell: str
    test: str
    suite: str
    guest: str
    abi: str
    verdict: Verdict | None = None  # None while it runs
    layer: str = ""
    reason: str = ""
    seconds: float = 0.0
    machine: int | None = None
    evidence: str = ""  # last lines of the guilty console
    reproduce: str = ""
    seed: int = 1
    boot: int | None = None  # of a bare guest
    figures: dict[str, int] = msgspec.field(default_factory=dict)  # what a bare guest's test counted


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A pristine tree as it was resolved."""

    name: str
    version: str
    origin: str
    sha256: str = ""
    note: str = ""


class ArtifactRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Something out of the store. ``hit``: it was there already."""

    name: str
    key: str
    hit: bool | None = None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A step that ended, and its wall-clock seconds."""

    step: str
    seconds: float


class MachineRecord(msgspec.Struct, kw_only=True):
    """A machine that was booted for this run."""

    number: int
    abi: str
    memory_mib: int
    dom0_mib: int
    vcpus: int
    xen_args: str = ""
    dom0_args: str = ""
    dom0_image: str = ""
    dom0_kernel: str = ""
    xen: str = ""
    boot_seconds: float | None = None  # None: never came up
    lost: str = ""  # why it was given up, if it was


class BootRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A bare guest that was booted for this run, and how it ended.

    A deterministic one gives the same console each time, as long as these
    words and the artifacts ``xen`` and ``bare`` are the same.
    """

    number: int
    kind: str
    args: str
    seed: int | None
    deterministic: bool
    vcpus: int
    memory_mib: int
    xen_args: str
    verdict: Verdict
    reason: str
    seconds: float
    console: str  # relative to the run folder


class CoverageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one source file of Xen that have code, and those that ran."""

    file: str
    what: str
    lines: int
    covered: int
    uncovered: list[int]


class ConsoleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded console; ``file`` is relative to the run folder."""

    layer: str
    file: str
    bytes: int
    machine: int | None = None


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What ended the run itself, as opposed to a test in it."""

    kind: str
    message: str
    hint: str = ""


class AcceleratorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``kvm`` or ``tcg``, and why."""

    kind: str
    reason: str


class RunRecord(msgspec.Struct, kw_only=True):
    """The document. Fields are only ever added, never renamed."""

    id: str
    command: list[str]
    reproduce: str
    started: str
    schema: int = SCHEMA
    state: str = "running"  # running, finished, interrupted, failed
    doing: str = ""
    pid: int = 0
    updated: str = ""
    ended: str | None = None
    seconds: float = 0.0
    verdict: Verdict | None = None
    exit_code: int | None = None
    error: ErrorRecord | None = None
    accelerator: AcceleratorRecord | None = None
    host: dict[str, str] = msgspec.field(default_factory=dict)
    harness: dict[str, str] = msgspec.field(default_factory=dict)
    plan: dict[str, str] = msgspec.field(default_factory=dict)
    flavour: str = "release"
    options: dict[str, str] = msgspec.field(default_factory=dict)
    sources: list[SourceRecord] = msgspec.field(default_factory=list)
    artifacts: list[ArtifactRecord] = msgspec.field(default_factory=list)
    machines: list[MachineRecord] = msgspec.field(default_factory=list)
    boots: list[BootRecord] = msgspec.field(default_factory=list)
    planned: int = 0  # cells that were selected
    tests: list[TestResult] = msgspec.field(default_factory=list)
    rows: list[Row] = msgspec.field(default_factory=list)
    coverage: list[CoverageRecord] = msgspec.field(default_factory=list)
    timings: list[StepRecord] = msgspec.field(default_factory=list)  # add up to ``seconds``
    steps: list[StepRecord] = msgspec.field(default_factory=list)  # as progress showed them; may nest
    consoles: list[ConsoleRecord] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


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


def load(where: Path) -> tuple[Path, RunRecord]:
    """Read a run back.

    Args:
        where: a run folder, or its run.json.

    Returns:
        The run folder and the record. A run that claims to be running though
        its process is gone is given back as ``killed``.

    Raises:
        UserError: there is no run, or it is not one of ours.
    """
    path = where / RUN_JSON if where.is_dir() else where
    try:
        record = msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except OSError as e:
        raise UserError(
            f"no run at {where}: {e.strerror}",
            hint="Name a run folder, e.g. runs/<timestamp>-<id>; `ls runs` lists them.",
        ) from e
    except msgspec.DecodeError as e:
        raise UserError(
            f"{path} is not a run record that this version understands: {e}",
            hint="docs/run.json.md has the schema; an older harness may be able to read it.",
        ) from e
    if record.state == "running" and not alive(record.pid):
        record.state = "killed"
        record.verdict = Verdict.ERROR
    return path.parent, record


def alive(pid: int) -> bool:
    """Whether a process of that id exists on this host."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
