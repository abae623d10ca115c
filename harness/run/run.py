# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: plan, build, test, judge, report; all of it in one run folder."""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import EvhError, InfraError, UserError
from harness.core.paths import CHECKOUT
from harness.core.records import Accelerator, Built, GuestSpec, MachineSpec, Verdict
from harness.core.signals import Interrupted, signals_end_cleanly
from harness.core.text import show_seeds
from harness.plan.flavours import RELEASE
from harness.plan.selection import Selection, pytest_targets
from harness.plan.suites import CORE
from harness.run import judge, plugin
from harness.run.boots import BareBoots
from harness.run.kunit import KUnitCells
from harness.run.pool import Machines
from harness.run.record import AcceleratorRecord, ArtifactRecord, ErrorRecord, RunRecord, SourceRecord
from harness.run.recorder import Recorder, now
from harness.run.session import Session, SessionPlugin
from harness.source import bases

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.guest.guest import Guest
    from harness.machine.machine import Machine

# Seconds. The last net only: every wait on a machine has a deadline of its own that names what it waited
# for, and that grows with the host's time_scale, which this does not.
TEST_TIMEOUT = 3 * 3600
PYTEST_LOG = "pytest.log"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What `evh run` was asked to do.

    Attributes:
        accelerator: ``auto``, ``kvm`` or ``tcg``.
        uri: libvirt's; None for its embedded driver.
        jobs: compilers side by side; None for all cores.
        run_dir: None makes a new folder under ``./runs``.
        keep: stop at the first test that does not pass and leave its machine
            up until Ctrl-C.
        command: what was typed, for run.json.
    """

    selection: Selection
    accelerator: str = "auto"
    uri: str | None = None
    xen_tree: Path | None = None
    linux_tree: Path | None = None
    jobs: int | None = None
    run_dir: Path | None = None
    keep: bool = False
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Backends:
    """The rooms that a run goes through; a unit test puts fakes here.

    Attributes:
        choose: which accelerator.
        build: everything a machine boots; told which components are wanted (``build.build``).
        machine: a machine that is not booted yet.
        guest: starts a guest on a machine and waits until it answers.
        xtf: folder of XTF's kernels, out of a checkout.
        kunit: kernel of a kind that runs KUnit tests.
        hold: called with the last machine where ``keep`` was asked for;
            returns when the person is done.
    """

    choose: Callable[[str], Accelerator]
    build: Callable[[RunRequest, Progress, frozenset[str]], Built]
    machine: Callable[[RunRequest, Built, MachineSpec, Path, Accelerator, Progress], Machine]
    guest: Callable[[Machine, GuestSpec], Guest]
    hold: Callable[[Machine, Path], None]
    xtf: Callable[[Path, Progress, int | None], Path]
    kunit: Callable[[RunRequest, Progress, str], Path]


def real_backends() -> Backends:
    """The real ones. Imported late: `evh --help` needs neither libvirt nor paramiko."""
    from harness.build.graph import build
    from harness.build.kunit import build_kernel
    from harness.build.xtf import build as build_xtf
    from harness.guest.guest import Guest
    from harness.machine.accelerator import choose_accelerator
    from harness.machine.attach import hold
    from harness.machine.machine import Machine
    from harness.store.artifacts import Store

    return Backends(
        choose=lambda want: choose_accelerator(want=want),
        xtf=lambda checkout, progress, jobs: build_xtf(
            checkout, store=Store(), progress=progress, jobs=jobs
        ),
        kunit=lambda request, progress, kind: build_kernel(
            kind,
            store=Store(),
            progress=progress,
            linux_tree=request.linux_tree,
            jobs=request.jobs,
            flavour=request.selection.flavour,
        ),
        build=lambda request, progress, components: build(
            store=Store(),
            progress=progress,
            xen_tree=request.xen_tree,
            linux_tree=request.linux_tree,
            jobs=request.jobs,
            flavour=request.selection.flavour,
            components=components,
        ),
        machine=lambda request, built, spec, folder, accelerator, progress: Machine(
            built, spec, run_dir=folder, accelerator=accelerator, progress=progress, uri=request.uri
        ),
        guest=lambda machine, spec: Guest(machine, spec).start(),
        hold=hold,
    )


def make_run_dir(wanted: Path | None) -> Path:
    """A new, empty folder for one run.

    Raises:
        UserError: it holds something already, or cannot be made.
    """
    path = wanted or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    try:
        path.mkdir(parents=True, exist_ok=wanted is not None)
        if any(path.iterdir()):
            raise UserError(
                f"the run folder {path} is not empty",
                hint="Name a new one, or leave --run-dir away.",
            )
    except OSError as e:
        raise UserError(
            f"cannot make the run folder {path}: {e.strerror}", hint="Name another by --run-dir."
        ) from e
    return path.resolve()


def reproduce(request: RunRequest) -> str:
    """The command that does the same again, from the same directory."""
    words = ["evh", "run"]
    selection = request.selection
    if selection.cell is not None:
        words += ["--cell", selection.cell.id]
    else:
        if selection.suites != (CORE,):
            words += [w for name in selection.suites for w in ("--suite", name)]
        words += ["--seeds", show_seeds(selection.seeds)] if selection.seeds else []
        words += ["--minutes", f"{selection.minutes:g}"] if selection.minutes else []
        words += ["--flavour", selection.flavour] if selection.flavour != RELEASE else []
    words += [w for name in selection.guests for w in ("--guest", name)]
    words += [w for abi in selection.abis for w in ("--abi", str(abi))]
    words += ["-k", selection.keyword] if selection.keyword else []
    words += ["--accel", request.accelerator] if request.accelerator != "auto" else []
    words += ["--connect", request.uri] if request.uri else []
    words += ["--xen-tree", str(request.xen_tree)] if request.xen_tree else []
    words += ["--linux-tree", str(request.linux_tree)] if request.linux_tree else []
    words += ["--xtf", str(selection.xtf)] if selection.xtf else []
    words += selection.files
    return shlex.join(words)


def options(request: RunRequest) -> dict[str, str]:
    """What else `evh repro` has to know of a request; only what was given."""
    words = {
        "accel": request.accelerator if request.accelerator != "auto" else "",
        "connect": request.uri or "",
        "xen_tree": str(request.xen_tree or ""),
        "linux_tree": str(request.linux_tree or ""),
        "xtf": str(request.selection.xtf or ""),
        "minutes": f"{request.selection.minutes:g}" if request.selection.minutes else "",
    }
    return {name: word for name, word in words.items() if word}


def again(run_dir: Path) -> str:
    """The command that replays a cell of this run, up to the cell's id."""
    default = run_dir.parent == Path("runs").resolve()
    return "evh repro" if default else f"evh repro --run {shlex.quote(str(run_dir))}"


def run(request: RunRequest, *, progress: Progress, backends: Backends | None = None) -> tuple[Path, RunRecord]:
    """Do one run.

    Returns:
        The run folder, and the record as it is in its run.json. The record's
        ``exit_code`` is the process's.

    Raises:
        UserError: before there is a run folder. Later errors are in the record.
    """
    targets = pytest_targets(request.selection)
    run_dir = make_run_dir(request.run_dir)
    record = RunRecord(
        id=run_dir.name,
        command=list(request.command),
        reproduce=reproduce(request),
        started=now(),
        pid=os.getpid(),
        plan=request.selection.describe(),
        flavour=request.selection.flavour,
        options=options(request),
        host=describe_host(),
        harness=describe_harness(),
    )
    recorder = Recorder(run_dir=run_dir, record=record, timed=progress)
    recorder.save()
    with signals_end_cleanly(progress.say) as came:
        try:
            _steps(
                request,
                backends or real_backends(),
                targets=targets,
                recorder=recorder,
                progress=progress,
                came=came,
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
                record.exit_code = judge.EXIT_CODES[Verdict.ERROR]
    return run_dir, record


def _judge(record: RunRecord) -> None:
    # A test without a verdict would be one that pytest gave up without a word.
    verdicts = [test.verdict or Verdict.ERROR for test in record.tests]
    record.verdict = judge.judge_run(verdicts)
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
    with recorder.doing("choose the accelerator"):
        accelerator = backends.choose(request.accelerator)
        record.accelerator = AcceleratorRecord(kind=accelerator.kind, reason=accelerator.reason)
    progress.say(f"accelerator: {accelerator.reason}")
    progress.say(f"run folder: {recorder.run_dir}")
    built: Built | None = None

    def make(spec: MachineSpec, folder: Path, chosen: Accelerator) -> Machine:
        assert built is not None, "tests run after the build"
        return backends.machine(request, built, spec, folder, chosen, progress)

    machines = Machines(make=make, accelerator=accelerator, recorder=recorder, progress=progress)
    session = Session(
        machines=machines,
        recorder=recorder,
        progress=progress,
        selection=request.selection,
        base=base_name(),
        reproduce=again(recorder.run_dir),
        keep=request.keep,
        start_guest=backends.guest,
    )

    session.signals = came
    kunit = KUnitCells(
        recorder=recorder,
        progress=progress,
        accelerator=accelerator,
        build=lambda kind: backends.kunit(request, progress, kind),
    )

    def pytest_pass(*, collect_only: bool) -> None:
        code = run_pytest(session, targets=targets, plugins=[kunit], collect_only=collect_only)
        if came:  # pytest ends the session and returns
            raise Interrupted(came[0])
        if problem := pytest_problem(code, session):
            raise problem

    if request.selection.xtf is not None:
        # Before the tests are collected: what it builds is what there is to run.
        with recorder.doing("build XTF"):
            session.xtf = backends.xtf(request.selection.xtf, progress, request.jobs)
    # A misspelled -k or a broken test file shows now, not after twenty minutes of compilers.
    with recorder.doing("collect tests"):
        pytest_pass(collect_only=True)
    if not record.planned:
        return
    with recorder.doing("build"):
        built = backends.build(request, progress, session.components)
        note_build(record, built)
        session.xen_syms = built.xen_syms
    kunit.prepare()
    session.bare = BareBoots(
        built=built,
        accelerator=accelerator,
        recorder=recorder,
        progress=progress,
        flavour=request.selection.flavour,
    )
    try:
        with recorder.doing("tests"):
            pytest_pass(collect_only=False)
        session.bare.close()
        bad = any(test.verdict not in (Verdict.PASS, Verdict.SKIP) for test in record.tests)
        if request.keep and bad and machines.current is not None:
            with recorder.doing("kept for a look inside, until Ctrl-C"):
                backends.hold(machines.current, recorder.run_dir)
            came.clear()  # that Ctrl-C was the person's "done", not an interruption of the run
    finally:
        machines.close()


def run_pytest(
    session: Session, *, targets: Sequence[str], plugins: Sequence[object] = (), collect_only: bool = False
) -> int:
    """Run the tests in this process; pytest's own output goes to ``pytest.log``.

    Args:
        targets: files and folders, as on pytest's command line.
        plugins: more of them, beside the package's own.
        collect_only: only find out which tests there are.

    Returns:
        Pytest's exit code.
    """
    selection, run_dir = session.selection, session.recorder.run_dir
    args = [
        *targets,
        # A user's own pytest.ini or conftest beside the run folder must not change what is judged.
        "-c",
        os.devnull,
        f"--rootdir={root_of(targets)}",
        # Capturing file descriptors as well would swallow the progress lines.
        "--capture=sys",
        "-p",
        "no:cacheprovider",
        # Installed, the package offers the plugin as `evh` too; once is enough.
        "-p",
        "no:evh",
        "-vv",
        "--tb=short",
        "-rA",
        "--color=no",
        f"--timeout={TEST_TIMEOUT}",
    ]
    if selection.keyword:
        args += ["-k", selection.keyword]
    if session.keep:
        args += ["--maxfail=1"]
    if collect_only:
        args += ["--collect-only"]
    else:
        args += [f"--junitxml={run_dir / 'junit.xml'}", "-o", "junit_suite_name=evtchn-harness"]
    with (run_dir / PYTEST_LOG).open("w") as log, redirect_stdout(log), redirect_stderr(log):
        return int(pytest.main(args, plugins=[SessionPlugin(session), plugin, *plugins]))


def root_of(targets: Sequence[str]) -> Path:
    """The folder that all test files are in: JUnit's class names are paths below it."""
    files = [Path(target.partition("::")[0]) for target in targets]
    return Path(os.path.commonpath([file if file.is_dir() else file.parent for file in files]))


def pytest_problem(code: int, session: Session) -> EvhError | None:
    """What pytest's exit code says that no test's verdict does."""
    log = session.recorder.run_dir / PYTEST_LOG
    if session.collect_errors:
        own = bool(session.selection.files)
        kind: type[EvhError] = UserError if own else EvhError
        return kind(
            f"a test file cannot be read:\n{session.collect_errors[0]}",
            hint=f"Mend the file; {log} has the whole of it.",
        )
    if code == pytest.ExitCode.USAGE_ERROR:
        said = [
            line.removeprefix("ERROR: ")
            for line in log.read_text().splitlines()
            if line.startswith("ERROR: ")
        ]
        return UserError(
            said[0] if said else "pytest refused its arguments", hint=f"{log} has the whole of it."
        )
    if code == pytest.ExitCode.INTERNAL_ERROR:
        return EvhError(
            "pytest or the plugin failed inside",
            hint=f"This is a bug in the harness; {log} has its traceback.",
        )
    return None


def note_build(record: RunRecord, built: Built) -> None:
    """Put what was built, and from what, into the record."""
    record.sources = [
        SourceRecord(name=s.name, version=s.version, origin=s.origin, sha256=s.sha256, note=s.note)
        for s in built.sources.values()
    ]
    record.artifacts = [
        ArtifactRecord(name=name, key=key, hit=built.hits.get(name)) for name, key in built.keys.items()
    ]


def base_name() -> str:
    """``xen-4.20+linux-6.12``: the series' versions, not the point releases, so that cell ids stay.

    Raises:
        UserError: a base.toml is wrong, or the package is without its checkout.
    """
    return "+".join(bases.load(bases.default(component)).name for component in ("xen", "linux"))


def describe_host() -> dict[str, str]:
    """What may explain a difference between two runs."""
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
    """Version of the package, and its commit where it is a clone."""
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
