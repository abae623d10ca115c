# SPDX-License-Identifier: GPL-2.0-or-later
"""The schema of ``run.json``, and reading it.

The Structs below are the schema; ``docs/run.json.md`` explains it. recorder.py
writes the file.
"""

from __future__ import annotations

import contextlib
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from harness.core.errors import UserError
from harness.core.locks import in_use
from harness.core.records import Verdict, Wish

SCHEMA = 2
RUN_JSON = "run.json"
JOURNAL = "run.journal"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the limits table; the receiver counts what arrives.

    Attributes:
        opened: ports open at once.
        sent: events sent, at most one per port and round, so that none can merge.
        seen: events that the receiver counted.
        lost: ports to which an event was sent and on which none was seen.
        duplicated: events seen more often than sent.
        seconds: wall-clock time of opening, sending and receiving.
        guest_bytes_per_port, xen_bytes_per_port: memory used by opening,
            divided by ``opened``; None if not measured.
    """

    test: str = ""
    abi: str
    guest: str
    path: str
    opened: int
    sent: int
    seen: int
    lost: int
    duplicated: int
    seconds: float
    guest_bytes_per_port: float | None = None
    xen_bytes_per_port: float | None = None
    note: str = ""


class TestResult(msgspec.Struct, kw_only=True):
    """The result of one cell. ``layer`` names the layer that crashed."""

    __test__ = False  # the name starts with "Test", but this is not a test class

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
    evidence: str = ""  # last console lines of the responsible layer
    known_issues: int = 0  # crash reports that were passed over while it ran
    reproduce: str = ""
    baseline: str = ""  # what the same test did on Xen without the series; empty: it was not compared
    seed: int = 1
    boot: int | None = None  # number of the bare guest's boot
    metrics: dict[str, int] = msgspec.field(default_factory=dict)  # reported by the test or the bare guest
    # In a merged run, if several parts ran it: what it did in each. Its verdict is the worst of them.
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)
    flaky: bool = False  # on equal artifacts it was red and green
    quarantine: str = ""  # why its red verdict does not make the run red (known-issues.toml)


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved pristine source tree."""

    name: str
    version: str
    origin: str
    sha256: str = ""
    note: str = ""


class WishRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A Kconfig symbol that a fragment wants, and that the tree of a kernel cannot have."""

    kernel: str
    symbol: str
    value: str
    place: str
    why: str


def wish_record(kernel: str, wish: Wish) -> WishRecord:
    """The record of a wish of a kernel, by the kind of its artifact."""
    return WishRecord(kernel=kernel, symbol=wish.symbol, value=wish.value, place=wish.place, why=wish.why)


class ArtifactRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact of the store. ``hit``: it was already there."""

    name: str
    key: str
    hit: bool | None = None


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A finished step, and its wall-clock seconds."""

    step: str
    seconds: float


class MachineRecord(msgspec.Struct, kw_only=True):
    """A machine that was booted or restored for this run.

    ``boot_seconds``: None if it never came up. Of a restored machine, those of the boot that was saved.
    """

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
    started: str = "booted"  # or "restored", from a snapshot
    boot_seconds: float | None = None
    restore_seconds: float | None = None  # from QEMU's start to dom0's first SSH answer; None: it was booted
    snapshot: str = ""  # when the snapshot was made that it was restored from
    save_seconds: float | None = None  # it was saved after its boot, which took so long
    time_scale: float | None = None  # how many times slower than the reference host; all deadlines grow by it
    lost: str = ""  # why it was given up; empty if it was not


class BootRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A bare guest booted for this run, and how it ended.

    A deterministic boot prints the same console output each time, as long as
    these parameters and the artifacts ``xen`` and ``bare`` are the same.
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
    time_scale: float | None = None
    accelerator: str = ""  # deterministic boots are always emulated


class CoverageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How many lines with code in one source file of Xen were executed."""

    file: str
    what: str
    lines: int
    covered: int
    uncovered: list[int]


class ConsoleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded console; ``file`` is relative to the run folder.

    ``time_scale``: of the boot, for consoles of kernels that are booted without dom0.
    """

    layer: str
    file: str
    bytes: int
    machine: int | None = None
    time_scale: float | None = None


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An error that ended the run itself, as opposed to a test in it."""

    kind: str
    message: str
    hint: str = ""


class KnownIssueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the file of known issues. ``count``: the crash reports that it passed over."""

    layer: str
    pattern: str
    why: str
    until: date
    link: str = ""
    count: int = 0


class AcceleratorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The accelerator, ``kvm`` or ``tcg``, and the reason for it."""

    kind: str
    reason: str
    proven: bool = True  # False until a trial boot has shown that KVM works


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell did in one part of a merged run. ``part``: its folder, relative to the run folder."""

    part: str
    verdict: Verdict | None
    reason: str = ""
    seconds: float = 0.0


class PartRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is part of a merged one.

    Attributes:
        id, started, state, verdict, exit_code, seconds: of that run.
        folder: its copy, relative to the run folder.
        shard: ``2/3``; empty if it was not cut.
        planned, judged: how many cells it was to run, and how many have a verdict.
        host, commit: the host's kernel, CPUs and memory, and the harness's commit.
        problem: why the merged run is red because of this part; empty if it is not.
    """

    id: str
    started: str
    folder: str
    state: str
    verdict: Verdict | None = None
    exit_code: int | None = None
    seconds: float = 0.0
    shard: str = ""
    flavour: str = ""
    planned: int = 0
    judged: int = 0
    host: str = ""
    commit: str = ""
    problem: str = ""


class ShardRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a plan that a run ran: ``number`` of ``of``; ``cells``: of the whole plan."""

    number: int
    of: int
    plan: str
    cells: int


class RunRecord(msgspec.Struct, kw_only=True):
    """The document. Renaming a field needs a new SCHEMA; ``load`` also reads the old ones."""

    id: str
    command: list[str]
    reproduce: str
    started: str
    schema: int = SCHEMA
    revision: int = 0  # how often the file was written
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
    toolstack: str = ""
    wishes: list[WishRecord] = msgspec.field(default_factory=list)
    lacks: dict[str, str] = msgspec.field(default_factory=dict)
    artifacts: list[ArtifactRecord] = msgspec.field(default_factory=list)
    machines: list[MachineRecord] = msgspec.field(default_factory=list)
    boots: list[BootRecord] = msgspec.field(default_factory=list)
    shard: ShardRecord | None = None  # None: the run was not cut
    planned: int = 0  # number of selected cells
    tests: list[TestResult] = msgspec.field(default_factory=list)
    rows: list[Row] = msgspec.field(default_factory=list)
    coverage: list[CoverageRecord] = msgspec.field(default_factory=list)
    timings: list[StepRecord] = msgspec.field(default_factory=list)  # add up to ``seconds``
    steps: list[StepRecord] = msgspec.field(default_factory=list)  # as progress shows them; may nest
    consoles: list[ConsoleRecord] = msgspec.field(default_factory=list)
    known_issues: list[KnownIssueRecord] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    parts: list[PartRecord] = msgspec.field(default_factory=list)  # of a merged run


def boot_of(record: RunRecord, test: TestResult) -> BootRecord | None:
    """The bare guest's boot that a test used; None if it used none."""
    return next((boot for boot in record.boots if boot.number == test.boot), None)


def is_deterministic(record: RunRecord, test: TestResult) -> bool:
    """Whether everything that a test looked at was a boot that counts instructions."""
    boot = boot_of(record, test)
    return boot is not None and boot.deterministic and test.machine is None


class Addition(msgspec.Struct, kw_only=True):
    """What a save added: one line of the journal.

    Attributes:
        revision: of the run.json that it continues.
        first: where ``tests`` begins among the run's; the first one may have been there before, unfinished.
    """

    revision: int
    updated: str
    seconds: float
    doing: str
    first: int
    tests: list[TestResult]
    rows: list[Row]
    boots: list[BootRecord]
    timings: list[StepRecord]
    consoles: list[ConsoleRecord]
    notes: list[str]


# Fields of both that only grow, except for ``tests``.
GROWING = ("rows", "boots", "timings", "consoles", "notes")


def add(record: RunRecord, addition: Addition) -> None:
    """Bring ``record`` up to a line of its journal."""
    record.updated, record.seconds, record.doing = addition.updated, addition.seconds, addition.doing
    record.tests[addition.first :] = addition.tests
    for name in GROWING:
        getattr(record, name).extend(getattr(addition, name))


def _read(path: Path) -> RunRecord:
    """The record in a run.json, brought up to date by the journal beside it."""
    while True:
        before = path.stat()
        record = msgspec.convert(upgraded(msgspec.json.decode(path.read_bytes())), type=RunRecord)
        lines: list[Addition] = []
        with contextlib.suppress(OSError):
            for text in path.with_name(JOURNAL).read_bytes().splitlines():
                with contextlib.suppress(msgspec.DecodeError):  # the last one, of a killed run
                    lines.append(msgspec.json.decode(text, type=Addition))
        if (path.stat().st_ino, path.stat().st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            continue  # the run has written run.json meanwhile, and begun the journal anew
        for line in lines:
            if line.revision == record.revision:
                add(record, line)
        return record


def load(where: Path) -> tuple[Path, RunRecord]:
    """Read a run back.

    Args:
        where: a run folder, or its run.json.

    Returns:
        The run folder and the record. If its state is ``running`` but its
        process is gone, the returned record's state is ``killed``.

    Raises:
        UserError: there is no run there, or its run.json does not match the schema.
    """
    path = where / RUN_JSON if where.is_dir() else where
    try:
        record = _read(path)
    except OSError as e:
        raise UserError(
            f"no run at {where}: {e.strerror}",
            hint="Name a run folder, e.g. runs/<timestamp>-<id>; `ls runs` lists them.",
        ) from e
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        raise UserError(
            f"{path} is not a run record that this version understands: {e}",
            hint="docs/run.json.md has the schema; another version of the harness may be able to read it.",
        ) from e
    if record.state == "running" and not in_use(path.parent):
        record.state = "killed"
        record.verdict = Verdict.ERROR
    return path.parent, record


# Fields renamed in schema 2: list, old name, new name.
RENAMED_IN_2 = (("rows", "doubled", "duplicated"), ("tests", "figures", "metrics"))


def upgraded(document: Any) -> Any:
    """Convert a decoded run.json of any schema to the current one."""
    if not isinstance(document, dict) or document.get("schema", 1) != 1:
        return document
    for name, old, new in RENAMED_IN_2:
        for entry in document.get(name, ()):
            if isinstance(entry, dict) and old in entry:
                entry[new] = entry.pop(old)
    return document | {"schema": SCHEMA}
