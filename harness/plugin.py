# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: fixtures for tests on a nested Xen, and what they leave behind.

``evh run`` hands pytest a ``Carrier`` that puts a ``Session`` into the
config's stash; everything here reads it from there. Under a plain ``pytest``
there is none, and a test that asks for a machine says how to get one.

Fixtures: ``machine``, ``dom0``, ``start_guest``, ``tool``, ``row``, ``bare``, those of fixtures.py,
and a parameter ``seed`` for tests that take one (``--seed``).
Markers: ``machine(abi=, memory_mib=, dom0_mib=, vcpus=, xen_args=,
dom0_args=)``, ``cell(guest=, abi=)``, ``needs(*parts)``, ``core``.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import judge, kmemleak
from harness.cells import abi_word, cell_of, parts_of, seeded, spec_of
from harness.errors import UserError
from harness.fixtures import figure, leaks, load, storm_seconds
from harness.model import GuestSpec, MachineSpec, Verdict
from harness.plan import Cell, Selection, in_selected_suite
from harness.pool import Machines, tail
from harness.record import Recorder, Row, TestResult
from harness.signals import Interrupted
from harness.symbols import with_places

if TYPE_CHECKING:
    from harness.bare import BareRun
    from harness.bareboots import BareBoots
    from harness.exercise import ToolResult
    from harness.guests import Guest
    from harness.ktap import Case
    from harness.machine import Machine
    from harness.progress import Progress
    from harness.ssh import SSH

# Pytest finds fixtures among a plugin's own names.
__all__ = ["figure", "leaks", "load", "storm_seconds"]

SESSION = pytest.StashKey["Session"]()
EVIDENCE_LINES = 40


class Session:
    """What one ``evh run`` shares with its tests.

    Args:
        machines: boots them, at most one at a time.
        recorder: results and rows go here as they happen.
        selection: what was asked for.
        base: name of the base that was built, for cell ids.
        reproduce: words to put before a cell's id, to replay it.
        keep: leave the guests of a failed test as they are.
        bare: boots bare guests; None before they are built.
    """

    def __init__(
        self,
        *,
        machines: Machines,
        recorder: Recorder,
        progress: Progress,
        selection: Selection,
        base: str,
        reproduce: str = "evh repro",
        keep: bool = False,
    ) -> None:
        self.machines = machines
        self.recorder = recorder
        self.progress = progress
        self.selection = selection
        self.base = base
        self.reproduce = reproduce
        self.keep = keep
        self.bare: BareBoots | None = None  # once they are built
        self.parts: frozenset[str] = frozenset()  # of what can be built, those that a selected test wants
        self.xtf: Path | None = None  # folder of its kernels, where it was asked for
        self.xen_syms: Path | None = None  # once it is built
        self.collect_errors: list[str] = []
        self.signals: list[int] = []  # that came to end the run
        self.running: Running | None = None
        self.last: TestResult | None = None  # that used a machine

    @property
    def asks_kmemleak(self) -> bool:
        """Whether Linux has it here, and what it says is not about a test that went wrong already."""
        if self.running is None:
            return False  # fixtures end after their test where a signal has ended the run
        return self.selection.flavour == kmemleak.FLAVOUR and not self.running.went_wrong

    def cell(self, item: pytest.Item) -> Cell:
        """The cell a test is, in this run."""
        return cell_of(
            item,
            base=self.base,
            default_abi=self.selection.default_abi,
            flavour=self.selection.flavour,
        )


class Running:
    """One test from its start to its verdict."""

    def __init__(self, result: TestResult) -> None:
        self.result = result
        self.endings: list[judge.Ending] = []
        self.crash: judge.CrashLike | None = None
        self.rows: list[Row] = []
        self.guests: list[str] = []
        self.bare: BareRun | None = None
        self.started = time.monotonic()

    @property
    def went_wrong(self) -> bool:
        return self.crash is not None or any(e.verdict is not Verdict.SKIP for e in self.endings)


class Carrier:
    """Takes a Session into pytest: ``pytest.main([...], plugins=[Carrier(session)])``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[SESSION] = self._session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._session.collect_errors.append(f"{report.nodeid}: {report.longreprtext.strip()}")


# Which tests.


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "machine(abi, memory_mib, dom0_mib, vcpus, xen_args, dom0_args): the machine a test wants",
    )
    config.addinivalue_line(
        "markers", "cell(guest, abi): what a test is about, where its parameters do not say it"
    )
    config.addinivalue_line("markers", "needs(*parts): what else has to be built for a test")
    config.addinivalue_line("markers", "core: belongs to the default plan of `evh run`")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``seed`` is each that was asked for, ``xtf_test`` each of XTF's tests."""
    if "xtf_test" in metafunc.fixturenames:
        from harness.xtf import tests_in

        ours = metafunc.config.stash.get(SESSION, None)
        metafunc.parametrize("xtf_test", tests_in(ours.xtf) if ours and ours.xtf else [])
    if "seed" in metafunc.fixturenames:
        session = metafunc.config.stash.get(SESSION, None)
        seeds = (session.selection.seeds if session else ()) or (1,)
        metafunc.parametrize("seed", seeds, ids=[f"seed={seed}" for seed in seeds])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the cells that were asked for, and put those of one machine side by side."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    selection = session.selection
    keep: list[pytest.Item] = []
    drop: list[pytest.Item] = []
    for item in items:
        chosen = in_selected_suite(selection, path=item.path, markers={m.name for m in item.iter_markers()})
        chosen = chosen and selection.keeps(session.cell(item))
        (keep if chosen else drop).append(item)
    if drop:
        config.hook.pytest_deselected(items=drop)
    first_seen: dict[MachineSpec, int] = {}
    specs = {id(item): spec_of(item, default_abi=selection.default_abi) for item in keep}
    for item in keep:
        first_seen.setdefault(specs[id(item)], len(first_seen))
    items[:] = sorted(keep, key=lambda item: first_seen[specs[id(item)]])
    if selection.seeds and not selection.cell and items and not any(map(seeded, items)):
        raise pytest.UsageError("a seed was given, and no test that was selected draws from one")
    session.parts = parts_of(items)
    session.recorder.record.planned = len(items)
    session.recorder.save()


# What a test leaves behind.


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    if session.signals:
        # What it raised was lost: a clean-up that failed on its way out took its place.
        raise Interrupted(session.signals[0])
    blame_late_crash(session, item.config)
    cell = session.cell(item)
    result = TestResult(
        cell=cell.id,
        test=cell.test,
        suite=cell.suite,
        guest=cell.guest,
        abi=cell.abi,
        seed=cell.seed,
        reproduce=f"{session.reproduce} {shlex.quote(cell.id)}",
    )
    item.user_properties.append(("cell", cell.id))
    running = session.running = Running(result)
    session.recorder.record.tests.append(result)
    title = f"{cell.suite}::{cell.test}"
    try:
        with (
            session.recorder.doing(f"test {title}"),
            session.progress.step(f"test {title}", announce_end=False),
        ):
            out = yield
        _conclude(session, running)
        return out
    except BaseException:
        result.seconds = round(time.monotonic() - running.started, 3)
        result.reason = result.reason or "interrupted"
        session.recorder.save()
        raise
    finally:
        session.running = None
        if result.machine is not None:
            session.last = result


def _conclude(session: Session, running: Running) -> None:
    result = running.result
    judgement = judge.judge_cell(endings=running.endings, crash=running.crash, rows=running.rows)
    result.verdict, result.layer, result.reason = (
        judgement.verdict,
        judgement.layer,
        judgement.reason,
    )
    result.seconds = round(time.monotonic() - running.started, 3)
    if judgement.verdict in (Verdict.CRASH, Verdict.HANG):
        session.machines.lose(judgement.reason)
    session.recorder.save()
    _say(session, result)


def _say(session: Session, result: TestResult) -> None:
    whose = f" ({result.layer})" if result.layer else ""
    seed = f" seed {result.seed}" if result.seed != 1 else ""
    cell = f"{result.suite}::{result.test}  {result.abi} {result.guest}{seed}"
    session.progress.say(f"{result.verdict}{whose}: {cell}  {result.seconds:.1f} s")
    if result.verdict is Verdict.PASS:
        return
    session.progress.say(f"  {result.reason}")
    if result.verdict is Verdict.SKIP:
        return
    for text in result.evidence.splitlines()[-8:]:
        session.progress.say(f"  | {text}")
    session.progress.say(f"  again: {result.reproduce}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session = item.config.stash.get(SESSION, None)
    if session is None or session.running is None:
        return report
    running = session.running
    if report.outcome == "skipped":
        running.endings.append(judge.Ending(verdict=Verdict.SKIP, reason=_skip_reason(report)))
    elif report.outcome == "failed" and call.excinfo is not None:
        running.endings.append(judge.classify(call.excinfo.value))
    elif report.outcome == "failed":  # a strict xfail that passed has no exception
        running.endings.append(judge.Ending(verdict=Verdict.FAIL, reason=report.longreprtext.strip()[:300]))
    elif report.when == "call" and (problem := next(filter(None, map(judge.row_problem, running.rows)), "")):
        _fail(report, f"the test passed, its figures do not: {problem}")

    if (
        running.crash is None
        and running.result.machine is not None
        and (crash := session.machines.find_crash())
    ):
        running.crash = crash
        _fail(report, f"crash in {crash.layer}: {crash.line.strip()}\n\n{crash.excerpt}")
    if report.outcome == "failed" and running.result.machine is not None:
        _attach_consoles(session, running, report)
    elif report.outcome == "failed" and running.bare is not None and not running.result.evidence:
        said = tail(running.bare.console, lines=EVIDENCE_LINES)
        report.sections.append((f"console of {running.bare.console.stem}", said))
        running.result.evidence = with_places(said, syms=session.xen_syms) if session.xen_syms else said
    return report


def _fail(report: pytest.TestReport, text: str) -> None:
    """Make pytest and its JUnit see what judge sees."""
    if report.outcome != "failed":
        report.outcome = "failed"
        report.longrepr = text


def _skip_reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected failure: {report.wasxfail or 'no reason given'}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext


def _attach_consoles(session: Session, running: Running, report: pytest.TestReport) -> None:
    """Last console lines into the report; those of the guilty layer into run.json too."""
    tails = session.machines.tails(lines=EVIDENCE_LINES)
    guilty = running.crash.layer if running.crash else next((e.layer for e in running.endings if e.layer), "")
    guilty = guilty or (f"guest:{running.guests[-1]}" if running.guests else "dom0")
    for layer in sorted(tails, key=lambda layer: layer != guilty):
        report.sections.append((f"console of {layer}, last {EVIDENCE_LINES} lines", tails[layer]))
    if not running.result.evidence:
        running.result.evidence = _evidence(session, tails, guilty)


def _evidence(session: Session, tails: dict[str, str], guilty: str) -> str:
    text = session.machines.excerpt() or tails.get(guilty) or tails.get("dom0", "")
    spec = session.machines.spec
    ours = session.xen_syms if spec is None or not spec.xen else None
    return with_places(text, syms=ours) if ours else text


def blame_late_crash(session: Session, config: pytest.Config) -> None:
    """A crash line that reached its console after the last test had ended belongs to that test.

    Guests' consoles come through two daemons, so the line may be late.
    """
    last = session.last
    if last is None or last.machine != session.machines.number or session.machines.lost:
        return
    if last.verdict in (Verdict.CRASH, None):
        return
    crash = session.machines.find_crash()
    if crash is None:
        return
    last.verdict, last.layer, last.reason = (
        Verdict.CRASH,
        crash.layer,
        f"{crash.line.strip()[:300]} (seen after the test ended)",
    )
    last.evidence = crash.excerpt
    session.machines.lose(last.reason)
    session.recorder.save()
    # JUnit has closed the test's case by now; this opens one more under the same name.
    config.hook.pytest_runtest_logreport(
        report=pytest.TestReport(
            nodeid=f"{last.suite}::{last.test}",
            location=(last.suite, None, last.test),
            keywords={},
            outcome="failed",
            longrepr=f"crash in {crash.layer} after the test had ended: {crash.line}\n\n{crash.excerpt}",
            when="teardown",
        )
    )
    _say(session, last)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    ours = session.config.stash.get(SESSION, None)
    if ours is not None:
        blame_late_crash(ours, session.config)


# Fixtures.


def _session(request: pytest.FixtureRequest) -> Session:
    session = request.config.stash.get(SESSION, None)
    if session is None or session.running is None:
        raise UserError(
            "this test wants a nested Xen, which plain pytest does not build or boot",
            hint="Run it by `evh run FILE`.",
        )
    return session


def running_of(request: pytest.FixtureRequest) -> Running:
    """The test that a fixture is asked for by, in a run.

    Raises:
        UserError: this is a plain pytest.
    """
    running = _session(request).running
    assert running is not None
    return running


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted machine as the test's ``machine`` marker asks: Xen, and dom0 that answers.

    It is shared with other tests that ask for an equal one, so leave it as
    you found it. After a crash or a hang the next test gets a fresh one.
    """
    session = _session(request)
    spec = spec_of(request.node, default_abi=session.selection.default_abi)
    running = session.running
    assert running is not None
    if not session.machines.fits(spec):
        # Set before it boots: a crash while booting is found in the consoles of this machine.
        running.result.machine = session.machines.next_number
    machine = session.machines.get(spec)
    running.result.machine = session.machines.number
    yield machine
    if session.asks_kmemleak:
        kmemleak.ask(machine.dom0)


@pytest.fixture
def dom0(machine: Machine) -> SSH:
    """SSH into dom0."""
    return machine.dom0


@pytest.fixture
def start_guest(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Callable[..., Guest]]:
    """A function that starts a guest and waits until it answers over SSH.

    Give it a ``GuestSpec``, or a GuestSpec's fields as keywords. Guests are
    destroyed after the test, the last one first.
    """
    session = _session(request)
    running = session.running
    assert running is not None
    started: list[Guest] = []
    with ExitStack() as guests:

        def start(spec: GuestSpec | None = None, **words: Any) -> Guest:
            if words.get("abi") is not None:
                words["abi"] = abi_word(request.node, words["abi"])
            spec = GuestSpec(**words) if spec is None else replace(spec, **words)
            running.guests.append(spec.name)
            with session.recorder.doing(f"start guest {spec.name}"):
                guest = machine.start_guest(spec)
            guests.callback(guest.destroy)
            started.append(guest)
            return guest

        yield start
        for guest in filter(kmemleak.asked, started if session.asks_kmemleak else ()):
            kmemleak.ask(guest.ssh)
        kept = session.keep and running.went_wrong
        if kept or session.signals or session.machines.find_crash() is not None:
            # A look inside was asked for; or the machine is torn down at once, which is quicker, and a
            # dead one cannot destroy anything.
            guests.pop_all()


@pytest.fixture
def tool() -> Callable[..., ToolResult]:
    """Run an in-guest tool: ``tool(where, name, *args, timeout=seconds)``.

    ``where`` is a guest, or an SSH such as ``dom0``.
    """
    from harness.exercise import run_tool

    def run(
        where: Guest | SSH, name: str, *args: object, timeout: float = 600, stdin: bytes = b""
    ) -> ToolResult:
        ssh = where.ssh if hasattr(where, "ssh") else where
        return run_tool(ssh, name, *(str(arg) for arg in args), timeout=timeout, stdin=stdin)

    return run


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Callable[..., BareRun]:
    """What a bare guest said: ``bare("bare-pv64", suite="race", seed=seed).case(name)``.

    The words are ``bare.BareSpec``'s fields. Equal ones are booted once a run.
    """
    session = _session(request)
    running = session.running
    assert running is not None

    def note(case: Case) -> None:
        figures = running.result.figures
        for name, value in case.figures.items():
            figures[name] = figures.get(name, 0) + value

    def run(kind: str, **words: Any) -> BareRun:
        if session.bare is None:
            raise UserError(f"no {kind} was built", hint="Run it by `evh run`.")
        running.bare, running.result.boot = session.bare.get(kind, **words)
        return replace(running.bare, heard=note)

    return run


@pytest.fixture
def xtf(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Boot a test of XTF's by its name, and end as it ends."""
    from harness.xtf import XtfFailed

    session = _session(request)
    running = session.running
    assert running is not None

    def run(test: str) -> None:
        assert session.bare is not None and session.xtf is not None
        got = session.bare.xtf(test, session.xtf)
        if got.verdict is not Verdict.PASS:
            running.result.evidence = tail(got.console, lines=EVIDENCE_LINES)
        if got.verdict is Verdict.SKIP:
            pytest.skip(got.reason)
        if got.verdict is not Verdict.PASS:
            raise XtfFailed(got.verdict, got.layer, got.reason, got.console)

    return run


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[..., Row]:
    """Add a line to the limits table; its arguments are ``record.Row``'s fields.

    A line that tells of a lost or doubled event makes the test fail.
    """
    session = _session(request)
    running = session.running
    assert running is not None

    def add(**words: Any) -> Row:
        line = Row(test=running.result.cell, **words)
        running.rows.append(line)
        session.recorder.record.rows.append(line)
        session.recorder.save()
        number = len(running.rows)
        figures = {name: getattr(line, name) for name in line.__struct_fields__ if name != "test"}
        request.node.user_properties += [
            (f"row{number}.{name}", value) for name, value in figures.items() if value not in (None, "")
        ]
        return line

    return add
