# SPDX-License-Identifier: GPL-2.0-or-later
"""The schema of ``validate.json`` (docs/validate.md explains it), and writing it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.core.errors import InfraError, UserError
from harness.core.files import replace_file
from harness.core.records import Verdict

SCHEMA = 1
VALIDATE_JSON = "validate.json"


class ToldRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that a patch broke or mended, or that is bad as before."""

    cell: str
    change: str
    verdict: Verdict
    layer: str = ""
    reason: str = ""
    was: str = ""
    since: int = 0
    evidence: str = ""
    reproduce: str = ""


class SuiteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A suite on one build. ``inherited``: it is that of an equal build, and did not run again."""

    suite: str
    cells: int
    passed: int
    skipped: int
    seconds: float
    run: str
    inherited: bool
    told: list[ToldRecord] = msgspec.field(default_factory=list)


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A build. ``error`` is empty if it succeeded.

    Attributes:
        same_as: number of the step before that has the same content in every section; None: it differs.
        sections: names of the sections that differ from those of the step before.
        summary: one hash of all sections.
    """

    error: str = ""
    said: str = ""
    seconds: float = 0.0
    hit: bool = False
    key: str = ""
    summary: str = ""
    same_as: int | None = None
    sections: list[str] = msgspec.field(default_factory=list)
    new_warnings: list[str] = msgspec.field(default_factory=list)
    text: int = 0
    structs: dict[str, int] = msgspec.field(default_factory=dict)


class CostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A metric in instructions: on the base, on the step before, and now."""

    metric: str
    base: int | None
    before: int
    now: int


class PatchRecord(msgspec.Struct, kw_only=True):
    """A step: a patch, or number 0, the base."""

    number: int
    subject: str
    author: str = ""
    where: str = ""
    message_id: str = ""
    patch_id: str = ""  # `git patch-id --stable`: equal for equal changes, wherever they were applied
    commit: str = ""
    tree: str = ""
    verdict: Verdict | None = None  # None: not judged
    misfit: str = ""
    proof: str = ""
    changed_by: str = ""
    remarks: list[str] = msgspec.field(default_factory=list)
    outside: list[str] = msgspec.field(default_factory=list)  # files that are neither built nor run
    build: BuildRecord | None = None
    suites: list[SuiteRecord] = msgspec.field(default_factory=list)
    costs: list[CostRecord] = msgspec.field(default_factory=list)
    errors: list[str] = msgspec.field(default_factory=list)  # of the harness or the host, by suite
    seconds: float = 0.0


class LeftOutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was found beside a series, and why it is no part of it."""

    what: str
    why: str


class SeriesRecord(msgspec.Struct, kw_only=True):
    """A series, its base, and its steps, the base first."""

    kind: str
    source: str
    title: str
    version: str
    message_id: str
    base: str
    base_commit: str
    how: str
    tried: list[str] = msgspec.field(default_factory=list)
    left_out: list[LeftOutRecord] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    steps: list[PatchRecord] = msgspec.field(default_factory=list)


class ValidateRecord(msgspec.Struct, kw_only=True):
    """The document."""

    id: str
    command: list[str]
    started: str
    level: str
    sandbox: bool
    schema: int = SCHEMA
    ended: str | None = None
    seconds: float = 0.0
    state: str = "running"  # running, finished, stopped (--until-red), interrupted, failed
    verdict: Verdict | None = None
    exit_code: int | None = None
    error: str = ""
    accelerator: str = ""
    host: dict[str, str] = msgspec.field(default_factory=dict)
    harness: dict[str, str] = msgspec.field(default_factory=dict)
    series: list[SeriesRecord] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


def save(folder: Path, record: ValidateRecord) -> None:
    """Write validate.json by one rename.

    Raises:
        InfraError: the disk is full, for example.
    """
    path = folder / VALIDATE_JSON
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    except OSError as error:
        raise InfraError(f"cannot write {path}: {error.strerror}", hint="Is there space?") from error


def load(where: Path) -> ValidateRecord:
    """Read a validation back.

    Raises:
        UserError: there is none, or it is of another version.
    """
    path = where / VALIDATE_JSON if where.is_dir() else where
    try:
        return msgspec.json.decode(path.read_bytes(), type=ValidateRecord)
    except OSError as error:
        raise UserError(f"no validation at {where}: {error.strerror}", hint="Name its folder.") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UserError(
            f"{path} is no record of a validation: {error}", hint="See docs/validate.md."
        ) from error
