# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh merge`: one run of many. The parts stay as they are, in copies below the merged run's folder."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from harness.core.errors import InfraError
from harness.core.locks import IN_USE
from harness.core.records import Verdict
from harness.history.parts import Part, notes_of, problems, read_parts
from harness.history.same import Relation, relation, same_artifacts, subject_of
from harness.run import judge
from harness.run.folder import run_folder
from harness.run.planning import PLAN_JSON, Plan
from harness.run.quarantine import counted
from harness.run.record import (
    JOURNAL,
    RUN_JSON,
    AcceleratorRecord,
    AttemptRecord,
    CoverageRecord,
    ErrorRecord,
    KnownIssueRecord,
    PartRecord,
    RunRecord,
    TestResult,
)
from harness.run.recorder import Recorder, now

PARTS = "parts"
# Rewritten by whoever has the copy, so it must not be the same file.
COPIED = (RUN_JSON, JOURNAL, PLAN_JSON)


def merge(
    runs: Sequence[Path], *, plans: Mapping[Path, Plan], run_dir: Path | None = None
) -> tuple[Path, RunRecord]:
    """Make one run of many.

    Args:
        plans: plans whose cells must all be there, by the files that they came from.
        run_dir: the merged run's folder; None: a new one under ``./runs``.

    Returns:
        The merged run's folder and its record, as stored there.

    Raises:
        UserError: one of ``runs`` is no run, is given twice, or is a merged one; the folder is not empty.
        InfraError: the disk is full.
    """
    parts = read_parts(runs)
    with run_folder(run_dir) as folder:
        places = {part.name: f"{PARTS}/{at}-{part.record.id}" for at, part in enumerate(parts, 1)}
        record = merged(parts, plans, folder=folder, places=places)
        recorder = Recorder(run_dir=folder, record=record, ended=True)
        recorder.save()
        try:
            for part in parts:
                copy_part(part.folder, folder / places[part.name])
            _write_uncovered(parts, folder)
        except OSError as error:
            raise InfraError(
                f"cannot copy the parts into {folder}: {error.strerror}",
                hint="Free some space (evh clean shows what uses it), or name another folder with --run-dir.",
            ) from error
        recorder.close()
        return folder, record


def copy_part(source: Path, target: Path) -> None:
    """Copy a run folder; on one file system its large files are hard links.

    Raises:
        OSError: the disk is full, for example.
    """
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.name == IN_USE:
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.name not in COPIED:
            with suppress(OSError):
                os.link(path, place)
                continue
        shutil.copy2(path, place)


def merged(
    parts: Sequence[Part], plans: Mapping[Path, Plan], *, folder: Path, places: Mapping[str, str]
) -> RunRecord:
    """The record of the merged run.

    Args:
        places: the folder of each part's copy, relative to the merged run's, by the part's name.
    """
    command = ["evh", "merge", *(w for path in plans for w in ("--plan", str(path)))]
    command += [str(part.folder) for part in parts]
    wrong, missing = problems(parts, plans)
    records = [part.record for part in parts]
    record = RunRecord(
        id=folder.name,
        command=command,
        reproduce=shlex.join(command),
        started=min(one.started for one in records),
        ended=max(one.ended or one.updated for one in records),
        pid=os.getpid(),
        updated=now(),
        state="finished",
        accelerator=_accelerator(records),
        host=_common([one.host for one in records]),
        harness=_common([one.harness for one in records]),
        plan=_common([one.plan for one in records]),
        flavour=",".join(dict.fromkeys(one.flavour for one in records)),
        options=_common([one.options for one in records]),
        planned=len({cell for part in parts for cell in part.planned}),
        coverage=_coverage(records),
        known_issues=_known(records),
        notes=notes_of(parts),
        parts=[_part(part, places[part.name], wrong.get(part.name, "")) for part in parts],
    )
    for part in parts:
        _take(record, part.record, place=places[part.name], folder=folder)
    record.tests, broken = _tests(parts, record.tests, places)
    red = [f"{name}: {problem}" for name, problem in wrong.items()] + missing + broken
    record.notes += red
    verdicts = counted(record.tests)
    ended = [one.verdict for one in records if one.state == "finished" and one.verdict is not None]
    verdicts += [verdict for verdict in ended if verdict is not Verdict.SKIP]
    record.verdict = judge.judge_run(verdicts)
    record.exit_code = judge.EXIT_CODES[record.verdict]
    if red:
        record.verdict, record.exit_code = Verdict.ERROR, judge.EXIT_CODES[Verdict.ERROR]
        more = f" (and {len(red) - 1} more)" if len(red) > 1 else ""
        record.error = ErrorRecord(
            kind="Incomplete" if not broken else "NotDeterministic", message=f"{red[0]}{more}",
            hint="The notes name each problem; run what is missing, and merge all parts again.",
        )  # fmt: skip
    return record


def _part(part: Part, place: str, problem: str) -> PartRecord:
    record = part.record
    host = record.host
    return PartRecord(
        id=record.id, started=record.started, folder=place, state=record.state, verdict=record.verdict,
        exit_code=record.exit_code, seconds=record.seconds, flavour=record.flavour,
        shard=f"{record.shard.number}/{record.shard.of}" if record.shard else "",
        planned=len(part.planned), judged=len(part.judged), problem=problem,
        host=", ".join(f"{name} {host[name]}" for name in ("kernel", "cpus", "memory_mib") if host.get(name)),
        commit=record.harness.get("commit", ""),
    )  # fmt: skip


def _take(record: RunRecord, part: RunRecord, *, place: str, folder: Path) -> None:
    """Add one part's lists, with numbers and paths that are unique in the merged run."""
    machines = max((one.number for one in record.machines), default=0)
    boots = max((one.number for one in record.boots), default=0)
    change = msgspec.structs.replace
    record.seconds = round(record.seconds + part.seconds, 3)
    record.sources += [one for one in part.sources if one not in record.sources]
    keys = {(one.name, one.key) for one in record.artifacts}
    record.artifacts += [one for one in part.artifacts if (one.name, one.key) not in keys]
    record.machines += [change(one, number=one.number + machines) for one in part.machines]
    record.boots += [
        change(one, number=one.number + boots, console=f"{place}/{one.console}") for one in part.boots
    ]
    again = f"evh repro --run {shlex.quote(str(folder / place))}"
    for test in part.tests:
        record.tests.append(
            change(
                test,
                machine=None if test.machine is None else test.machine + machines,
                boot=None if test.boot is None else test.boot + boots,
                reproduce=f"{again} {shlex.quote(test.cell)}",
            )
        )
    record.rows += part.rows
    record.timings += part.timings
    record.steps += part.steps
    record.consoles += [
        change(
            one,
            file=f"{place}/{one.file}",
            machine=None if one.machine is None else one.machine + machines,
        )
        for one in part.consoles
    ]
    record.notes += [f"{place}: {note}" for note in part.notes]


def _tests(
    parts: Sequence[Part], tests: Sequence[TestResult], places: Mapping[str, str]
) -> tuple[list[TestResult], list[str]]:
    """One result for each cell: the worst of its parts', which a retry does not change.

    Args:
        tests: the changed copies, in the order of the parts.

    Returns:
        The results, and the deterministic cells that contradict themselves.
    """
    came: dict[str, list[tuple[Part, TestResult, TestResult]]] = {}
    copies = iter(tests)
    for part in parts:
        for test in part.record.tests:
            came.setdefault(test.cell, []).append((part, test, next(copies)))
    out, broken = [], []
    for cell, found in came.items():
        judged = [one for one in found if one[1].verdict is not None] or found
        kept = max(judged, key=lambda one: _gravity(one[1]))[2]
        if len(found) > 1:
            kept.attempts = [
                AttemptRecord(
                    part=places[part.name], verdict=test.verdict, reason=test.reason, seconds=test.seconds
                )
                for part, test, _ in found
            ]
            kept.flaky, why = _related(judged)
            if why:
                kept.verdict, kept.reason, kept.quarantine = Verdict.ERROR, f"not deterministic: {why}", ""
                broken.append(f"the deterministic cell {cell} differs on equal artifacts: {why}")
        out.append(kept)
    return out, broken


def _gravity(test: TestResult) -> tuple[int, bool]:
    """A red result outside of quarantine outranks an equal one within it."""
    return (judge.GRAVITY.index(test.verdict) if test.verdict is not None else -1, not test.quarantine)


def _related(found: Sequence[tuple[Part, TestResult, TestResult]]) -> tuple[bool, str]:
    """Whether a cell is flaky, and why it is an error of the harness, if it is one."""
    flaky = False
    for at, (part, test, _) in enumerate(found):
        for other, again, _ in found[at + 1 :]:
            if not same_artifacts(subject_of(part.record), subject_of(other.record)):
                continue
            kind, why = relation((part.folder, part.record, test), (other.folder, other.record, again))
            if kind is Relation.BROKEN:
                return False, why
            flaky |= kind is Relation.FLAKY
    return flaky, ""


def _accelerator(records: Sequence[RunRecord]) -> AcceleratorRecord | None:
    used = [one.accelerator for one in records if one.accelerator]
    if not used:
        return None
    kinds = list(dict.fromkeys(one.kind for one in used))
    if len(kinds) == 1:
        return used[0]
    return AcceleratorRecord(
        kind="mixed",
        reason="; ".join(f"{sum(one.kind == kind for one in used)} parts with {kind}" for kind in kinds),
        proven=all(one.proven for one in used),
    )


def _common(each: Sequence[dict[str, str]]) -> dict[str, str]:
    """Properties of all parts; where they differ, all values."""
    names = dict.fromkeys(name for one in each for name in one)
    return {name: " | ".join(dict.fromkeys(one[name] for one in each if name in one)) for name in names}


def _known(records: Sequence[RunRecord]) -> list[KnownIssueRecord]:
    """Known issues, with the sum of what each part passed over."""
    found: dict[KnownIssueRecord, int] = {}
    for record in records:
        for issue in record.known_issues:
            key = msgspec.structs.replace(issue, count=0)
            found[key] = found.get(key, 0) + issue.count
    return [msgspec.structs.replace(issue, count=count) for issue, count in found.items()]


def _coverage(records: Sequence[RunRecord]) -> list[CoverageRecord]:
    """Lines that ran in any part."""
    found: dict[tuple[str, str, int], list[set[int]]] = {}
    for record in records:
        for file in record.coverage:
            found.setdefault((file.file, file.what, file.lines), []).append(set(file.uncovered))
    out = []
    for (file_name, what, lines), each in found.items():
        never = sorted(set.intersection(*each))
        out.append(
            CoverageRecord(
                file=file_name, what=what, lines=lines, covered=lines - len(never), uncovered=never
            )
        )
    return out


def _write_uncovered(parts: Sequence[Part], folder: Path) -> None:
    """The listing of lines that ran in no part."""
    listings = [path for part in parts if (path := part.folder / "coverage.txt").is_file()]
    if not listings:
        return
    each = [path.read_text(errors="replace").splitlines() for path in listings]
    keep: Callable[[str], bool] = lambda line: line.startswith("  ") and all(line in one for one in each)  # noqa: E731
    (folder / "coverage.txt").write_text("".join(f"{line}\n" for line in each[0] if keep(line)))
