# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: selects and orders tests, and records the result of each.

``evh run`` passes pytest a ``SessionPlugin`` that puts a ``Session`` into the
config's stash, where these hooks find it. Under plain ``pytest`` there is no
session, and the hooks do nothing.

Markers: ``machine(abi=, memory_mib=, dom0_mib=, vcpus=, xen_args=,
dom0_args=, clean=)``, ``cell(guest=, abi=)``, ``needs(*components)``, ``asks(*abilities)``, ``core``. A test
with a parameter ``seed`` runs once for each seed of ``--seeds``.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Generator
from dataclasses import replace

import pytest

from harness.core.errors import InfraError
from harness.core.records import Abi, MachineSpec, Verdict
from harness.core.signals import Interrupted
from harness.core.text import tail
from harness.monitor.symbols import with_places
from harness.plan.selection import in_selected_suite
from harness.run import judge
from harness.run.collection import components_of, seeded
from harness.run.endings import classify, is_of_the_harness
from harness.run.planning import estimated, plan_of
from harness.run.record import TestResult
from harness.run.session import EVIDENCE_LINES, SESSION, Running, Session

pytest_plugins = ("harness.run.fixtures",)


# Selection.


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "machine(abi, memory_mib, dom0_mib, vcpus, xen_args, dom0_args, clean): the machine of a test",
    )
    config.addinivalue_line(
        "markers", "cell(guest, abi): guest and ABI of a test, if its parameters do not give them"
    )
    config.addinivalue_line("markers", "needs(*components): additional components to build for a test")
    config.addinivalue_line(
        "markers", "asks(*abilities): what Xen or Linux must have; else the test is skipped, with the reason"
    )
    config.addinivalue_line("markers", "core: part of the default plan of `evh run`")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``seed`` with the requested seeds."""
    if "seed" in metafunc.fixturenames:
        session = metafunc.config.stash.get(SESSION, None)
        seeds = (session.selection.seeds if session else ()) or (1,)
        metafunc.parametrize("seed", seeds, ids=[f"seed={seed}" for seed in seeds])


def _chosen(session: Session, items: list[pytest.Item]) -> list[pytest.Item]:
    """The items that the selection keeps, each once though two of the files that were named may hold it."""
    selection = session.selection
    kept = {
        item.nodeid: item
        for item in items
        if in_selected_suite(selection, path=item.path, markers={m.name for m in item.iter_markers()})
        and selection.keeps(session.cell(item))
    }
    return list(kept.values())


def _refuse_equal_ids(session: Session, items: list[pytest.Item]) -> None:
    """Refuse two tests with one id: a verdict could be that of either, and `evh repro` would run both.

    Raises:
        pytest.UsageError
    """
    seen: dict[str, str] = {}
    for item in items:
        cell = session.cell(item).id
        if cell in seen:
            raise pytest.UsageError(f"{seen[cell]} and {item.nodeid} are both the cell {cell}; rename one")
        seen[cell] = item.nodeid


def _plan(session: Session, items: list[pytest.Item]) -> None:
    """Plan the selected cells, and keep those of the session's shard. A later collection is cut alike."""
    if session.plan is None:
        cells = estimated(
            items, cell=session.cell, known=session.estimates, default_abi=session.selection.default_abi
        )
        session.plan = plan_of(cells, session.shard)
    elif not session.planned and (new := _not_in(session, items)):
        raise pytest.UsageError(f"the plan does not have the cell {new}: it was made of another selection")
    mine = {one.cell for one in session.plan.mine}
    others = {one.cell for one in session.plan.cells} - mine
    kept = [item for item in items if session.cell(item).id not in others]
    dropped = [item for item in items if session.cell(item).id in others]
    if dropped:
        dropped[0].config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def _not_in(session: Session, items: list[pytest.Item]) -> str:
    """The first cell that a given plan does not have; empty if it has all."""
    known = {one.cell for one in session.plan.cells} if session.plan else set()
    return next((cell for item in items if (cell := session.cell(item).id) not in known), "")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the selected cells, and group them by machine."""
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    selection = session.selection
    keep = _chosen(session, items)
    cell = selection.cell
    if not keep and cell is not None and not selection.abis and cell.abi in tuple(Abi):
        # The ABI in the id may be one that the test took from --abi.
        selection = session.selection = replace(selection, abis=(Abi(cell.abi),))
        keep = _chosen(session, items)
    _refuse_equal_ids(session, keep)
    kept = set(map(id, keep))
    drop = [item for item in items if id(item) not in kept]
    if drop:
        config.hook.pytest_deselected(items=drop)
    items[:] = _ordered(session, keep)
    if selection.seeds and not selection.cell and items and not any(map(seeded, items)):
        raise pytest.UsageError("a seed was given, but no selected test uses one")
    _plan(session, items)
    _note_planned(session, items)
    session.recorder.save()


def _ordered(session: Session, items: list[pytest.Item]) -> list[pytest.Item]:
    """The items in the order in which they run: grouped by machine, or shuffled."""
    if session.shuffle is not None:
        # Of the cells, not of the order in which they were found.
        items = sorted(items, key=lambda item: session.cell(item).id)
        random.Random(session.shuffle).shuffle(items)
        return items
    first_seen: dict[MachineSpec, int] = {}
    specs = {id(item): session.spec(item) for item in items}
    for item in items:
        first_seen.setdefault(specs[id(item)], len(first_seen))
    return sorted(items, key=lambda item: first_seen[specs[id(item)]])


def _note_planned(session: Session, items: list[pytest.Item]) -> None:
    """Note which cells there are to be judged.

    Raises:
        pytest.UsageError: a file was edited since the build began, and a test needs what was not built.
    """
    planned, components = tuple(session.cell(item).id for item in items), components_of(items)
    if session.planned and (missing := components - session.components):
        names = ", ".join(sorted(missing))
        raise pytest.UsageError(f"the tests were edited during the build, and need {names}: run again")
    if session.planned and planned != session.planned:
        text = f"the tests were edited during the build: {len(planned)} cells, not {len(session.planned)}"
        session.recorder.record.notes.append(text)
        session.progress.say(text)
    if not session.planned:
        session.components = components
    session.planned = planned
    session.recorder.record.planned = len(planned)


# Results.


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    if session.signals:
        # The signal's exception was lost, e.g. replaced by that of a failing clean-up.
        raise Interrupted(session.signals[0])
    blame_late_crash(session)
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
    running = session.running = Running(result)
    running.known_before = session.known.total
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
    except InfraError as error:
        # run.json cannot be written: no later cell can be recorded, but this one is judged.
        running.endings.append(classify(error))
        _judge(running)
        _say(session, result)
        raise
    except BaseException:
        result.seconds = round(time.monotonic() - running.started, 3)
        result.reason = result.reason or "interrupted"
        session.recorder.save()
        raise
    finally:
        session.running = None
        if result.machine is not None:
            session.last = result


def _judge(running: Running) -> judge.Judgement:
    result = running.result
    if running.subtests and all(running.subtests) and not running.endings:
        running.endings.append(judge.Ending(verdict=Verdict.SKIP, reason=running.subtests[0]))
    judgement = judge.judge_cell(endings=running.endings, crash=running.crash, rows=running.rows)
    result.verdict, result.layer, result.reason = (
        judgement.verdict,
        judgement.layer,
        judgement.reason or running.remark,
    )
    result.seconds = round(time.monotonic() - running.started, 3)
    return judgement


def _conclude(session: Session, running: Running) -> None:
    result = running.result
    judgement = _judge(running)
    result.known_issues = session.known.total - running.known_before
    # An error says nothing about the state in which it leaves the machine, a lost console least of all.
    used = result.machine is not None
    if judgement.verdict in (Verdict.CRASH, Verdict.HANG) or (judgement.verdict is Verdict.ERROR and used):
        session.machines.lose(judgement.reason)
    session.recorder.save()
    _say(session, result)


def _say(session: Session, result: TestResult) -> None:
    whose = f" ({result.layer})" if result.layer else ""
    seed = f" seed {result.seed}" if result.seed != 1 else ""
    cell = f"{result.suite}::{result.test}  {result.abi} {result.guest}{seed}"
    session.progress.say(f"{result.verdict}{whose}: {cell}  {result.seconds:.1f} s")
    if result.reason:
        session.progress.say(f"  {result.reason}")
    if result.verdict in (Verdict.PASS, Verdict.SKIP):
        return
    for text in result.evidence.splitlines()[-8:]:
        session.progress.say(f"  | {text}")
    session.progress.say(f"  again: {result.reproduce}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this Xen or this Linux cannot do, before anything is booted for it."""
    session = item.config.stash.get(SESSION, None)
    if session is not None and (why := session.unable(item)):
        pytest.skip(why)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Note when the test's own function runs: reports made meanwhile are of its subtests."""
    session = item.config.stash.get(SESSION, None)
    running = session.running if session else None
    if running is None:
        return (yield)
    running.within = True
    try:
        return (yield)
    finally:
        running.within = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session = item.config.stash.get(SESSION, None)
    if session is None or session.running is None:
        return report
    running = session.running
    if running.within:
        running.subtests.append(_skip_reason(report) if report.outcome == "skipped" else "")
    if report.outcome == "skipped" and (worse := _worse_than_expected(report, call)):
        running.endings.append(worse)
        _fail(report, f"this test is expected to fail, but it ended in a {worse.verdict}: {worse.reason}")
    elif report.outcome == "skipped":
        # A skipped subtest says nothing about the rest of its test, which ends by itself.
        if not running.within:
            expected = hasattr(report, "wasxfail")
            reason = _skip_reason(report)
            running.endings.append(judge.Ending(verdict=Verdict.SKIP, reason=reason, expected=expected))
    elif report.outcome == "failed" and call.excinfo is not None:
        running.endings.append(classify(call.excinfo.value))
    elif report.outcome == "failed":  # a strict xfail that passed has no exception
        running.endings.append(judge.Ending(verdict=Verdict.FAIL, reason=report.longreprtext.strip()[:300]))
    elif report.when == "call" and (problem := next(filter(None, map(judge.row_problem, running.rows)), "")):
        _fail(report, f"the test passed, but a row of the limits table does not: {problem}")

    if (
        running.crash is None
        and running.result.machine is not None
        and (crash := session.machines.find_crash())
    ):
        running.crash = crash
        _fail(report, f"crash in {crash.layer}: {crash.line.strip()}\n\n{crash.excerpt}")
    if (
        running.crash is None
        and not running.faulty
        and running.result.machine is not None
        and (fault := session.machines.find_fault())
    ):
        # Before what the test made of it: a machine that this host has stopped gives no right answer.
        running.faulty = True
        running.endings.insert(0, classify(fault))
        _fail(report, f"the machine is lost: {fault}")
    if report.outcome == "failed" and running.result.machine is not None:
        _attach_consoles(session, running, report)
    elif report.outcome == "failed" and running.bare is not None and not running.result.evidence:
        said = tail(running.bare.console, lines=EVIDENCE_LINES)
        report.sections.append((f"console of {running.bare.console.stem}", said))
        running.result.evidence = with_places(said, syms=session.xen_syms) if session.xen_syms else said
    return report


def _fail(report: pytest.TestReport, text: str) -> None:
    """Make pytest's log show the failure that the judge sees."""
    if report.outcome != "failed":
        report.outcome = "failed"
        report.longrepr = text


def _worse_than_expected(report: pytest.TestReport, call: pytest.CallInfo[None]) -> judge.Ending | None:
    """How a test with an xfail mark ended, if worse than by a failure: the mark must not hide a hang."""
    if not hasattr(report, "wasxfail") or call.excinfo is None:
        return None
    ending = classify(call.excinfo.value)
    # pytest applies the mark to set-up and clean-up, too, and to errors that no test can mean.
    unmeant = call.when != "call" or is_of_the_harness(call.excinfo.value)
    lost = ending.verdict in (Verdict.HANG, Verdict.CRASH)
    return ending if lost or (ending.verdict is Verdict.ERROR and unmeant) else None


def _skip_reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected failure: {report.wasxfail or 'no reason given'}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext


def _attach_consoles(session: Session, running: Running, report: pytest.TestReport) -> None:
    """Add the last console lines to the report, and those of the responsible layer to run.json."""
    tails = session.machines.tails(lines=EVIDENCE_LINES)
    named = (ending.layer for ending in running.endings if ending.layer)
    at_fault = running.crash.layer if running.crash else next(named, "")
    at_fault = at_fault or (f"guest:{running.guests[-1]}" if running.guests else "dom0")
    for layer in sorted(tails, key=lambda layer: layer != at_fault):
        report.sections.append((f"console of {layer}, last {EVIDENCE_LINES} lines", tails[layer]))
    if not running.result.evidence:
        running.result.evidence = _evidence(session, tails, at_fault)


def _evidence(session: Session, tails: dict[str, str], at_fault: str) -> str:
    text = session.machines.excerpt() or tails.get(at_fault) or tails.get("dom0", "")
    spec = session.machines.spec
    syms = session.xen_syms if spec is None or not spec.xen else None
    return with_places(text, syms=syms) if syms else text


def blame_late_crash(session: Session) -> None:
    """Attribute a crash line that reached its console after the last test ended to that test.

    Guests' consoles pass through two daemons, so lines may come late.
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
        f"{crash.reason[:300]} (seen after the test ended)",
    )
    last.evidence = crash.excerpt
    session.machines.lose(last.reason)
    session.recorder.save(whole=True)
    _say(session, last)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    run_session = session.config.stash.get(SESSION, None)
    if run_session is not None:
        blame_late_crash(run_session)

