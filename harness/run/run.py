# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: plan, build, test, judge, report; all of it in one run folder."""

from __future__ import annotations

import io
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.build.recipes import pair_name
from harness.core.environment import left_out
from harness.core.errors import EvhError, InfraError, UserError
from harness.core.files import LossyFile
from harness.core.paths import CHECKOUT
from harness.core.records import Accelerator, Built, MachineSpec, Verdict
from harness.core.signals import Interrupted, signals_end_cleanly
from harness.monitor.knownissues import KnownIssues
from harness.plan.selection import pytest_targets
from harness.run import judge, plugin
from harness.run.backends import Backends, real_backends
from harness.run.boots import BareBoots
from harness.run.folder import run_folder
from harness.run.kunit import KUnitCells
from harness.run.planning import write_plan
from harness.run.pool import Machines
from harness.run.quarantine import counted, put_in_quarantine
from harness.run.record import (
    AcceleratorRecord,
    ArtifactRecord,
    ErrorRecord,
    KnownIssueRecord,
    RunRecord,
    ShardRecord,
    SourceRecord,
    wish_record,
)
from harness.run.recorder import Recorder, now
from harness.run.request import RunRequest, again, options, reproduce
from harness.run.session import Session, SessionPlugin
from harness.run.xtf import XtfCells
from harness.store.artifacts import Store

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.machine.machine import Machine

# Seconds. Backstop. Individual waits have their own deadlines, scaled to the host's speed; this one is not
# scaled. A test may have several storms, each of which lasts as long as the user says.
TEST_TIMEOUT = 3 * 3600
STORMS = 6
PYTEST_LOG = "pytest.log"


def run(
    request: RunRequest, *, progress: Progress, backends: Backends | None = None
) -> tuple[Path, RunRecord]:
    """Do one run.

    Returns:
        The run folder, and the record as stored in its run.json. The process
        exits with the record's ``exit_code``.

    Raises:
        UserError: an error found before the run folder exists. Later errors go into the record.
    """
    targets = pytest_targets(request.selection)
    backends = backends or real_backends()
    with run_folder(request.run_dir) as run_dir, backends.store_in_use(progress):
        return run_dir, _run(request, run_dir, targets=targets, progress=progress, backends=backends)


def _run(
    request: RunRequest, run_dir: Path, *, targets: list[str], progress: Progress, backends: Backends
) -> RunRecord:
    began = time.monotonic()
    record = RunRecord(
        id=run_dir.name,
        command=list(request.command),
        reproduce=reproduce(request),
        started=now(),
        pid=os.getpid(),
        plan=request.selection.describe() | ({"shard": str(request.shard)} if request.shard else {}),
        flavour=request.selection.flavour,
        options=options(request),
        host=describe_host(),
        harness=describe_harness(),
    )
    recorder = Recorder(run_dir=run_dir, record=record, timed=progress, began=began)
    recorder.save()
    with signals_end_cleanly(progress.say) as came:
        try:
            _steps(
                request, backends, targets=targets, recorder=recorder, progress=progress, came=came
            )
            if came:
                raise Interrupted(came[0])
            record.state = "finished"
            _judge(record)
        except KeyboardInterrupt:
            number = came[0] if came else signal.SIGINT
            record.state, record.verdict, record.exit_code = (
                "interrupted",
                Verdict.ERROR,
                128 + number,
            )
            record.error = ErrorRecord(
                kind="interrupted",
                message=f"{signal.Signals(number).name} while: {record.doing or 'ending'}",
            )
        except EvhError as e:
            record.state = "failed"
            verdict = getattr(e, "verdict", Verdict.ERROR)
            record.verdict = verdict
            record.exit_code = e.exit_code if verdict is Verdict.ERROR else judge.EXIT_CODES[verdict]
            record.error = ErrorRecord(kind=type(e).__name__, message=e.message, hint=e.hint)
        except BaseException as e:
            record.state, record.verdict, record.exit_code = "failed", Verdict.ERROR, 4
            record.error = ErrorRecord(
                kind=type(e).__name__, message=str(e), hint="This is a bug in the harness."
            )
            raise
        finally:
            if record.state == "finished":
                record.doing = ""
            record.ended = now()
            try:
                recorder.close()
            except InfraError as e:
                progress.say(f"{e.message}; {e.hint}")
                record.verdict, record.exit_code = Verdict.ERROR, judge.EXIT_CODES[Verdict.ERROR]
                record.error = ErrorRecord(kind=type(e).__name__, message=e.message, hint=e.hint)
    return record


def _judge(record: RunRecord) -> None:
    record.verdict = judge.judge_run(counted(record.tests))
    record.exit_code = judge.EXIT_CODES[record.verdict]


def _steps(
    request: RunRequest,
    backends: Backends,
    *,
    targets: list[str],
    recorder: Recorder,
    progress: Progress,
    came: list[int],
) -> None:
    record = recorder.record
    record.notes += filter(None, [left_out()])
    with recorder.doing("choose the accelerator"):
        accelerator = backends.choose(request.accelerator)
        note_accelerator(record, accelerator)
    progress.say(accelerator.line)
    progress.say(f"run folder: {recorder.run_dir}")
    built: Built | None = None
    known = KnownIssues(request.known)
    note_known(record, known)

    def make(spec: MachineSpec, folder: Path, chosen: Accelerator) -> Machine:
        assert built is not None, "tests run after the build"
        machine = backends.machine(request, built, spec, folder, chosen, progress)
        machine.known = known
        return machine

    machines = Machines(make=make, recorder=recorder, progress=progress)
    session = Session(
        machines=machines,
        recorder=recorder,
        progress=progress,
        selection=request.selection,
        base=pair_name(request.trees),
        reproduce=again(recorder.run_dir),
        shuffle=request.shuffle,
        keep=request.keep,
        start_guest=backends.guest,
        known=known,
        shard=request.shard,
        estimates=request.estimates,
        xen_args=request.xen_args,
        dom0_args=request.dom0_args,
        plan=request.plan,
    )

    session.signals = came
    kunit = KUnitCells(
        recorder=recorder,
        progress=progress,
        build=lambda kind: backends.kunit(request, progress, kind),
        known=known,
    )
    xtf = XtfCells(
        recorder=recorder, progress=progress, store=Store(), known=known
    )

    def pytest_pass(*, collect_only: bool) -> None:
        code = run_pytest(session, targets=targets, plugins=[kunit, xtf], collect_only=collect_only)
        if came:  # pytest ends the session and returns
            raise Interrupted(came[0])
        if problem := pytest_problem(code, session):
            raise problem

    if request.selection.xtf is not None:
        # Before collection, because the built kernels determine which XTF tests exist.
        with recorder.doing("build XTF"):
            xtf.found(backends.xtf(request, progress))
    # Collect first, so that a misspelled -k or a broken test file shows before twenty minutes of building.
    with recorder.doing("collect tests"):
        pytest_pass(collect_only=True)
        note_plan(recorder, session)
    xtf.check_selected(session.planned)
    if not record.planned:
        return
    with recorder.doing("build"):
        built = backends.build(request, progress, session.components)
        note_build(record, built)
        session.xen_syms = built.xen_syms
        session.lacks = built.lacks
    if not accelerator.proven:
        with recorder.doing("prove the accelerator"), progress.step("prove the accelerator"):
            accelerator = backends.prove(request, built, accelerator, recorder.run_dir / "kvm-proof")
            note_accelerator(record, accelerator)
        progress.say(accelerator.line)
    machines.accelerator = accelerator
    if request.snapshots:
        machines.snapshots = backends.snapshots(lambda text: note(record, progress, text))
    kunit.prepare(accelerator)
    xtf.prepare(built, accelerator)
    session.bare = BareBoots(
        built=built,
        accelerator=accelerator,
        recorder=recorder,
        progress=progress,
        flavour=request.selection.flavour,
        xen_args=request.xen_args,
        known=known,
    )
    try:
        with recorder.doing("tests"):
            pytest_pass(collect_only=False)
            bad = any(test.verdict not in (Verdict.PASS, Verdict.SKIP) for test in record.tests)
            # With --keep, the first bad test ends the run on purpose.
            if not (request.keep and bad) and (problem := unjudged(session)):
                raise problem
        session.bare.close()
        note_known(record, known)
        record.notes += [*known.complaints(), *put_in_quarantine(record, request.quarantine)]
        xtf.close()
        if request.keep and bad and machines.current is not None:
            with recorder.doing("machine kept running until Ctrl-C"):
                backends.hold(machines.current, recorder.run_dir)
            came.clear()  # this Ctrl-C meant "done"; it did not interrupt the run
    finally:
        machines.close()


def run_pytest(
    session: Session, *, targets: Sequence[str], plugins: Sequence[object] = (), collect_only: bool = False
) -> int:
    """Run the tests in this process; pytest's own output goes to ``pytest.log``.

    Args:
        targets: files and folders, as on pytest's command line.
        plugins: plugins in addition to the package's own.
        collect_only: collect the tests without running them.

    Returns:
        Pytest's exit code.
    """
    selection, run_dir = session.selection, session.recorder.run_dir
    args = [
        *targets,
        # A user's pytest.ini or conftest.py near the run folder must not affect the verdicts.
        "-c",
        os.devnull,
        f"--rootdir={root_of(targets)}",
        # The conftest.py beside a test file is the user's; those in the folders above are somebody else's.
        f"--confcutdir={root_of(targets)}",
        "-p",
        "pytest_timeout",
        # Capturing file descriptors would also swallow the progress lines.
        "--capture=sys",
        "-p",
        "no:cacheprovider",
        # An installed package also registers the plugin as `evh`; load it only once.
        "-p",
        "no:evh",
        "-vv",
        "--tb=short",
        "-rA",
        "--color=no",
        f"--timeout={TEST_TIMEOUT + STORMS * selection.minutes * 60:.0f}",
    ]
    if selection.keyword:
        args += ["-k", selection.keyword]
    if session.keep:
        args += ["--maxfail=1"]
    if collect_only:
        args += ["--collect-only"]
    file = LossyFile(run_dir / PYTEST_LOG, "w")
    log = io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace")
    try:
        with plain_environment(), imports_undone(targets), log, redirect_stdout(log), redirect_stderr(log):
            return int(pytest.main(args, plugins=[SessionPlugin(session), plugin, *plugins]))
    finally:
        if file.lost:
            session.recorder.record.notes.append(f"{PYTEST_LOG} is incomplete: {file.lost.strerror}")


@contextmanager
def imports_undone(targets: Sequence[str]) -> Iterator[None]:
    """After the block, the modules beside the tests are not imported any more.

    Tests are collected, then everything is built, then they are collected again and run. Python would take
    the modules of the first time, and ignore an edit meanwhile.
    """
    before, root = set(sys.modules), root_of(targets)
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name not in before and file and root in Path(file).parents:
                del sys.modules[name]


@contextmanager
def plain_environment() -> Iterator[None]:
    """An environment without pytest's variables and without plugins of other packages.

    Each of them could drop tests after they were planned, or change how they end.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    try:
        for name in before:
            del os.environ[name]
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        yield
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update(before)


def unjudged(session: Session) -> EvhError | None:
    """The error for cells that were planned and have no verdict: they are not known to be good."""
    judged = {test.cell for test in session.recorder.record.tests if test.verdict is not None}
    missing = [cell for cell in session.planned if cell not in judged]
    if not missing:
        return None
    return EvhError(
        f"{len(missing)} of {len(session.planned)} planned cells were not run, among them {missing[0]}",
        hint=f"{session.recorder.run_dir / PYTEST_LOG} may say why, for example a hook of a conftest.py.",
    )


def root_of(targets: Sequence[str]) -> Path:
    """The common folder of all test files."""
    files = [Path(target.partition("::")[0]) for target in targets]
    return Path(os.path.commonpath([file if file.is_dir() else file.parent for file in files]))


def pytest_problem(code: int, session: Session) -> EvhError | None:
    """The error that pytest's exit code stands for, if no test's verdict covers it."""
    log = session.recorder.run_dir / PYTEST_LOG
    if code == pytest.ExitCode.INTERNAL_ERROR and session.recorder.failure is not None:
        return session.recorder.failure
    if session.collect_errors:
        own = bool(session.selection.files)
        kind: type[EvhError] = UserError if own else EvhError
        return kind(
            f"a test file cannot be read:\n{session.collect_errors[0]}",
            hint=f"Fix the file; {log} has pytest's full output.",
        )
    if code == pytest.ExitCode.USAGE_ERROR:
        said = [
            line.removeprefix("ERROR: ")
            for line in log.read_text().splitlines()
            if line.startswith("ERROR: ")
        ]
        return UserError(
            said[0] if said else "pytest rejected its arguments", hint=f"{log} has pytest's full output."
        )
    if code == pytest.ExitCode.INTERNAL_ERROR:
        return EvhError(
            "internal error in pytest or in the plugin",
            hint=f"This is a bug in the harness; {log} has the traceback.",
        )
    return None


def note(record: RunRecord, progress: Progress, text: str) -> None:
    """Tell the user now, and the reader of the report."""
    progress.say(text)
    record.notes.append(text)


def note_accelerator(record: RunRecord, accelerator: Accelerator) -> None:
    """Record the accelerator that all boots of the run use."""
    record.accelerator = AcceleratorRecord(
        kind=accelerator.kind, reason=accelerator.reason, proven=accelerator.proven
    )


def note_plan(recorder: Recorder, session: Session) -> None:
    """Record what is to be run, before anything is.

    Raises:
        InfraError: the plan cannot be written.
    """
    plan = session.plan
    if plan is None:
        return
    if plan.shard:
        recorder.record.shard = ShardRecord(
            number=plan.shard, of=plan.of, plan=plan.id, cells=len(plan.cells)
        )
    write_plan(recorder.run_dir, plan)
    recorder.save(whole=True)


def note_build(record: RunRecord, built: Built) -> None:
    """Record the artifacts and the sources they were built from."""
    record.sources = [
        SourceRecord(name=s.name, version=s.version, origin=s.origin, sha256=s.sha256, note=s.note)
        for s in built.sources.values()
    ]
    record.wishes = [wish_record(kind, wish) for kind, wishes in built.wishes.items() for wish in wishes]
    record.lacks = dict(built.lacks)
    record.toolstack = built.toolstack
    record.artifacts += [
        ArtifactRecord(name=name, key=key, hit=built.hits.get(name)) for name, key in built.keys.items()
    ]


def note_known(record: RunRecord, known: KnownIssues) -> None:
    """Record the known issues, and how often each was passed over so far."""
    record.known_issues = [
        KnownIssueRecord(
            layer=issue.layer, pattern=issue.pattern, why=issue.why, until=issue.until, link=issue.link,
            count=count,
        )
        for issue, count in known.counts()
    ]  # fmt: skip


def describe_host() -> dict[str, str]:
    """Properties of the host that may explain a difference between two runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory_mib": str(memory >> 20),
        "python": platform.python_version(),
        "qemu": _first_line("qemu-system-x86_64", "--version"),
    }


def describe_harness() -> dict[str, str]:
    """Version of the package, and its commit if it is a git clone."""
    try:
        version = metadata.version("evtchn-harness")
    except metadata.PackageNotFoundError:
        version = "not installed"
    here = str(CHECKOUT)
    commit = _first_line("git", "-C", here, "describe", "--always", "--dirty", "--exclude=*")
    return {"version": version, "python": sys.executable} | ({"commit": commit} if commit else {})


def _first_line(*command: str) -> str:
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return out.splitlines()[0].strip() if out else ""
