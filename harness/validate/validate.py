# SPDX-License-Identifier: GPL-2.0-or-later
"""One validation: each patch of a series applied, looked at, built and run, and judged against its base."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import InfraError, UserError
from harness.core.progress import Progress
from harness.core.records import Source, Verdict
from harness.monitor.knownissues import KnownIssue
from harness.run.judge import EXIT_CODES, judge_run
from harness.run.recorder import now
from harness.run.run import describe_harness, describe_host
from harness.store.artifacts import Store
from harness.validate import elf, sandbox, style
from harness.validate.b4 import kept_in, patch_id
from harness.validate.behave import LEVELS, Behaviour, Part, Ran
from harness.validate.building import Builder, Facts
from harness.validate.judge import CellResult, Change, History, Told, costs, metrics_of, new_warnings
from harness.validate.patches import Patch
from harness.validate.read import Placed
from harness.validate.record import (
    BuildRecord,
    CostRecord,
    LeftOutRecord,
    PatchRecord,
    SeriesRecord,
    SuiteRecord,
    ToldRecord,
    ValidateRecord,
    save,
)
from harness.validate.worktree import Applied, Misfit, WorkTree, apply_series, work_tree

# Where a patch has to change something for a build of it to differ.
BUILT = {"xen": ("xen/",), "linux": ("",)}
# Runs suites on a build: Behaviour.run, or what a unit test has instead.
Runner = Callable[[Part, Facts], Ran]


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `evh validate`.

    Attributes:
        level: a key of ``LEVELS``.
        first, last: numbers of the patches that are judged; the ones before are applied only.
        until_red: stop at the first patch that is red.
        confined: build in the sandbox.
    """

    level: str = "quick"
    first: int = 1
    last: int = 0
    until_red: bool = False
    confined: bool = True
    accelerator: str = "auto"
    jobs: int | None = None
    known: tuple[KnownIssue, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Step:
    """The state that one patch hands to the next."""

    number: int = 0
    facts: Facts | None = None
    warnings: set[str] = field(default_factory=set)
    histories: dict[str, History] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    base_metrics: dict[str, int] = field(default_factory=dict)


def validate(
    placed: Sequence[Placed],
    request: Request,
    *,
    folder: Path,
    store: Store,
    progress: Progress,
    show: Callable[[SeriesRecord, PatchRecord], None] = lambda *_: None,
    runner: Callable[[Placed, Request], Runner] | None = None,
) -> ValidateRecord:
    """Validate one series, or one of Xen and one of Linux.

    Args:
        folder: gets validate.json, which is kept current.
        show: is told of each step when it is judged.
        runner: makes the function that runs suites for a series; None: on real machines.

    Raises:
        InfraError: there is no sandbox, the base does not build, or no space, for example.
    """
    if request.confined:
        sandbox.check()
    began = time.monotonic()
    record = ValidateRecord(
        id=folder.name, command=list(request.command), started=now(), level=request.level,
        sandbox=request.confined, host=describe_host(), harness=describe_harness(),
    )  # fmt: skip
    make = runner or (lambda one, request: _real(one, request, store=store, progress=progress))
    try:
        for one in placed:
            series = _series_record(one)
            record.series.append(series)

            def done(step: PatchRecord, series: SeriesRecord = series) -> None:
                series.steps.append(step)
                record.seconds = round(time.monotonic() - began, 1)
                save(folder, record)
                show(series, step)

            with work_tree(one.base, store=store, progress=progress) as tree:
                judge = _Judge(one, tree, request, make(one, request), store=store, progress=progress)
                judge.run(done)
                record.accelerator = record.accelerator or judge.accelerator
                record.state = "stopped" if judge.stopped else "finished"
        verdicts = [step.verdict for series in record.series for step in series.steps if step.verdict]
        record.verdict = judge_run(verdicts)
        record.exit_code = EXIT_CODES[record.verdict]
    except BaseException as error:
        record.state, record.exit_code = "failed", getattr(error, "exit_code", 4)
        if isinstance(error, KeyboardInterrupt):
            record.state, record.exit_code = "interrupted", 128 + getattr(error, "number", signal.SIGINT)
        record.error, record.verdict = getattr(error, "message", "") or str(error), Verdict.ERROR
        raise
    finally:
        record.ended, record.seconds = now(), round(time.monotonic() - began, 1)
        save(folder, record)
        # For `evh b4-check`, which is run in some clone of Xen or Linux.
        kept = kept_in(store) / record.id
        kept.mkdir(parents=True, exist_ok=True)
        save(kept, record)
    return record


def _real(one: Placed, request: Request, *, store: Store, progress: Progress) -> Runner:
    source = Source(name=one.base.kind, version=one.base.commit[:12], origin=f"series:{one.series.source}")
    behaviour = Behaviour(
        kind=one.base.kind, source=source, store=store, progress=progress, accelerator=request.accelerator,
        jobs=request.jobs, known=request.known,
    )  # fmt: skip
    return lambda part, facts: behaviour.run(part, facts.artifact, facts.summary)


def _series_record(one: Placed) -> SeriesRecord:
    series, base = one.series, one.base
    return SeriesRecord(
        kind=base.kind, source=series.source, title=series.title, version=series.version,
        message_id=series.message_id, base=base.name, base_commit=base.commit, how=base.how,
        tried=list(base.tried), notes=list(series.notes),
        left_out=[LeftOutRecord(what=left.what, why=left.why) for left in series.left_out],
    )  # fmt: skip


class _Judge:
    """Judges the patches of one series in order.

    Attributes:
        stopped: ``until_red`` ended it early.
        accelerator: of the machines, once one was booted.
    """

    def __init__(
        self,
        one: Placed,
        tree: WorkTree,
        request: Request,
        runner: Runner,
        *,
        store: Store,
        progress: Progress,
    ) -> None:
        self._one, self._tree, self._request, self._runner = one, tree, request, runner
        self._progress = progress
        self._parts = LEVELS[request.level]
        self._builder = Builder(
            kind=one.base.kind, tree=tree, store=store, progress=progress, confined=request.confined,
            jobs=request.jobs,
        )  # fmt: skip
        self._step = Step()
        self._base: Facts | None = None
        self.stopped = False
        self.accelerator = ""

    def run(self, done: Callable[[PatchRecord], None]) -> None:
        """Judge all patches; ``done`` gets each as soon as it is judged, the base first."""
        patches = self._one.series.patches
        results = apply_series(self._tree, self._one.series)
        steps = [self._looked_at(patch, one) for patch, one in zip(patches, results, strict=False)]
        applied = [self._tree.base, *(one for _, one in steps if isinstance(one, Applied))]
        first, last = self._request.first, self._request.last or len(patches)
        done(self._start(applied[first - 1] if len(applied) >= first else None))
        for record, one in steps[first - 1 : last]:
            began = time.monotonic()
            if isinstance(one, Misfit):
                record.verdict = Verdict.FAIL
            else:
                self._judge(record, one)
            record.seconds = round(time.monotonic() - began, 1)
            done(record)
            if self._request.until_red and record.verdict not in (Verdict.PASS, None):
                self.stopped = True
                return
        for patch in patches[len(steps) : last]:
            done(_record_of(patch))

    def _looked_at(self, patch: Patch, one: Applied | Misfit) -> tuple[PatchRecord, Applied | Misfit]:
        """The cheapest truths: whether it applies, and its form."""
        record = _record_of(patch)
        if isinstance(one, Misfit):
            record.misfit, record.proof, record.changed_by = one.reason, one.proof, one.changed_by
            return record, one
        record.commit, record.tree = one.commit, one.tree
        record.patch_id = patch_id(patch.diff)
        history = not self._one.base.pinned
        confined = self._request.confined
        remarks = style.remarks(self._tree, patch, one, history=history, confined=confined)
        record.remarks = [*one.notes, *remarks]
        built = BUILT[self._one.base.kind]
        record.outside = [change.path for change in patch.changes if not change.path.startswith(built)]
        return record, one

    def _start(self, base: Applied | None) -> PatchRecord:
        """Build what the first judged patch is compared with."""
        number = self._request.first - 1
        subject = "the base" if number == 0 else f"patch {number}"
        if base is None:
            raise UserError(f"patch {number} does not apply", hint="Begin with an earlier one: --patches.")
        record = PatchRecord(number=number, subject=subject, commit=base.commit, tree=base.tree)
        began = time.monotonic()
        # As the first of its work tree, so that it is built from nothing.
        start = Applied(number=0, commit=base.commit, tree=base.tree)
        facts = self._builder.build(start, title=f"build {subject}")
        if facts.error:
            raise InfraError(
                f"{subject} does not build: {facts.error}",
                hint="A series cannot be compared with that; is it the right base?",
            )
        self._base = facts
        self._step = Step(number=number, facts=facts, warnings=set(facts.warnings))
        record.build = _build_record(facts)
        record.seconds = round(time.monotonic() - began, 1)
        return record

    def _judge(self, record: PatchRecord, applied: Applied) -> None:
        """Build a patch, and run what it changes."""
        facts = self._builder.build(applied, title=f"build patch {record.number}: {record.subject}")
        before = self._step
        assert before.facts is not None and self._base is not None
        if facts.error:
            record.build, record.verdict = _build_record(facts), Verdict.FAIL
            return
        different = elf.changed(before.facts.sections, facts.sections)
        record.build = _build_record(
            facts,
            same_as=None if different else before.number,
            sections=different,
            warnings=new_warnings(before.warnings, facts.warnings),
        )
        after = Step(
            number=record.number, facts=facts, warnings=before.warnings | set(facts.warnings),
            histories=before.histories, metrics=before.metrics, base_metrics=before.base_metrics,
        )  # fmt: skip
        verdicts = [Verdict.PASS]
        if different:
            for part in self._parts:
                try:
                    suite, bad = self._suite(part, facts, before, after, record)
                except InfraError as error:
                    # The other suites and patches may still say something.
                    record.errors.append(f"{part.suite}: {error.message.splitlines()[0]}")
                    verdicts.append(Verdict.ERROR)
                    continue
                record.suites.append(suite)
                verdicts += bad
        record.verdict = judge_run(verdicts)
        self._step = after

    def _suite(
        self, part: Part, facts: Facts, before: Step, after: Step, record: PatchRecord
    ) -> tuple[SuiteRecord, list[Verdict]]:
        """Run one suite; gives its record, and the verdicts of what it broke."""
        if part.suite not in before.histories:
            assert self._base is not None
            self._progress.say(f"{part.suite}: first on the base")
            base = self._runner(part, self._base)
            before.histories[part.suite] = History(base.cells)
            before.metrics |= metrics_of(base.cells)
            before.base_metrics |= metrics_of(base.cells)
        ran = self._runner(part, facts)
        self.accelerator = ran.accelerator
        told = before.histories[part.suite].add(record.number, ran.cells)
        measured = metrics_of(ran.cells)
        record.costs += [
            CostRecord(metric=one.metric, base=one.base, before=one.before, now=one.now)
            for one in costs(before.base_metrics, before.metrics, measured)
        ]
        after.metrics = after.metrics | measured
        broken = [one.cell.verdict for one in told if one.change is Change.BROKEN]
        gone = [Verdict.FAIL for one in told if one.change is Change.GONE]
        return _suite_record(part, ran, told), [*broken, *gone]


def _record_of(patch: Patch) -> PatchRecord:
    return PatchRecord(
        number=patch.number,
        subject=patch.subject,
        author=patch.author,
        where=patch.where,
        message_id=patch.mail.message_id if patch.mail else "",
    )


def _build_record(
    facts: Facts,
    *,
    same_as: int | None = None,
    sections: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> BuildRecord:
    return BuildRecord(
        error=facts.error, said=facts.said, seconds=facts.seconds, hit=facts.artifact.hit,
        key=facts.artifact.key, summary=facts.summary if not facts.error else "", same_as=same_as,
        sections=list(sections), new_warnings=list(warnings), text=facts.text, structs=dict(facts.structs),
    )  # fmt: skip


def _suite_record(part: Part, ran: Ran, told: Sequence[Told]) -> SuiteRecord:
    return SuiteRecord(
        suite=part.suite, cells=len(ran.cells), seconds=ran.seconds, run=str(ran.folder), inherited=ran.hit,
        passed=sum(cell.verdict is Verdict.PASS for cell in ran.cells),
        skipped=sum(cell.verdict is Verdict.SKIP for cell in ran.cells),
        told=[_told_record(one, ran) for one in told],
    )  # fmt: skip


def _told_record(one: Told, ran: Ran) -> ToldRecord:
    cell: CellResult = one.cell
    blamed = cell.bad and one.change is not Change.BEFORE
    again = f"evh repro --run {ran.folder} '{cell.id}'"
    return ToldRecord(
        cell=cell.id, change=str(one.change), verdict=cell.verdict, layer=cell.layer, reason=cell.reason,
        was=one.was, since=one.since, evidence=cell.evidence if blamed else "",
        reproduce=again if cell.bad else "",
    )  # fmt: skip


def check_range(request: Request, count: int) -> None:
    """Check --patches against a series.

    Raises:
        UserError: it has no such patches.
    """
    if not 1 <= request.first <= (request.last or count) <= count:
        raise UserError(
            f"--patches {request.first}-{request.last or count}: the series has {count} patches",
            hint="Name numbers that `evh series show` prints.",
        )
