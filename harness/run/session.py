# SPDX-License-Identifier: GPL-2.0-or-later
"""State that a run shares with its tests: the session and the running test."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.deprecated import RenamedWarning
from harness.core.errors import UserError
from harness.core.records import Abi, GuestSpec, MachineSpec, Verdict
from harness.monitor.knownissues import KnownIssues
from harness.plan.cells import Cell
from harness.plan.estimates import Estimates
from harness.plan.flavours import FLAVOURS
from harness.plan.selection import Selection
from harness.plan.shards import Shard
from harness.run import judge
from harness.run.collection import cell_of, lacked, spec_of, unable
from harness.run.planning import Plan
from harness.run.pool import Machines
from harness.run.record import Row, TestResult
from harness.run.recorder import Recorder

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.guest.guest import Guest
    from harness.machine.bare import BareRun
    from harness.machine.machine import Machine
    from harness.run.boots import BareBoots

SESSION = pytest.StashKey["Session"]()
EVIDENCE_LINES = 40


class Session:
    """State that one ``evh run`` shares with its tests.

    Args:
        machines: boots machines, at most one at a time.
        recorder: receives results and rows as they come.
        selection: the selected tests and their parameters.
        base: name of the base, for cell ids.
        reproduce: command that replays a cell, up to the cell's id.
        start_guest: starts a guest on a machine and waits until it answers.
        shuffle: seed of a random order of the tests; None: grouped by machine.
        keep: leave the guests of a failed test running.
        known: crashes to pass over.
        shard: run only this part of the selected cells.
        estimates: what earlier runs say about cells; they decide what is in a shard.
        xen_args, dom0_args: words for the command lines of each machine, in addition to a test's own.
        plan: a plan that was cut before, instead of both.

    Attributes:
        lacks: for each of ``ABILITIES`` that what was built does not have, why.
        bare: boots bare guests; None until they are built.
        plan: all selected cells; None until they are collected.
    """

    def __init__(
        self,
        *,
        machines: Machines,
        recorder: Recorder,
        progress: Progress,
        selection: Selection,
        base: str,
        start_guest: Callable[[Machine, GuestSpec], Guest],
        reproduce: str = "evh repro",
        shuffle: int | None = None,
        keep: bool = False,
        known: KnownIssues | None = None,
        shard: Shard | None = None,
        estimates: Estimates | None = None,
        xen_args: str = "",
        dom0_args: str = "",
        plan: Plan | None = None,
    ) -> None:
        self.xen_args = xen_args
        self.dom0_args = dom0_args
        self.lacks: dict[str, str] = {}
        self.machines = machines
        self.recorder = recorder
        self.progress = progress
        self.selection = selection
        self.base = base
        self.start_guest = start_guest
        self.reproduce = reproduce
        self.shuffle = shuffle
        self.keep = keep
        self.known = known or KnownIssues()
        self.shard = shard
        self.estimates = estimates or Estimates()
        self.plan = plan
        self.bare: BareBoots | None = None
        self.components: frozenset[str] = frozenset()  # components that a selected test needs
        self.xen_syms: Path | None = None  # None until Xen is built
        self.collect_errors: list[str] = []
        self.planned: tuple[str, ...] = ()  # cells, as they were first collected
        self.signals: list[int] = []  # received signals that end the run
        self.running: Running | None = None
        self.last: TestResult | None = None  # the last test that used a machine

    @property
    def asks_kmemleak(self) -> bool:
        """Whether to check for kernel leaks: the flavour has kmemleak and the test has not failed already."""
        if self.running is None:
            return False  # when a signal ends the run, fixtures are torn down after their test
        return FLAVOURS[self.selection.flavour].kmemleak and not self.running.went_wrong

    @property
    def asks_consoles(self) -> bool:
        """Whether to check that the consoles are still recorded: the test has not failed already."""
        return self.running is not None and not self.signals and not self.running.went_wrong

    def cell(self, item: pytest.Item) -> Cell:
        """The cell of a test in this run."""
        return cell_of(
            item,
            base=self.base,
            default_abi=self.selection.default_abi,
            flavour=self.selection.flavour,
        )

    def spec(self, item: pytest.Item) -> MachineSpec:
        """The machine that a test asks for, as this run boots it.

        Where Xen or Linux has no 3-level ABI, dom0 uses FIFO under the tests that are not of 3l.
        """
        spec = spec_of(item, default_abi=self.selection.default_abi)
        return replace(
            spec,
            abi=Abi.FIFO if spec.abi is Abi.L3 and lacked(self.lacks, Abi.L3) else spec.abi,
            xen_args=" ".join(filter(None, (spec.xen_args, self.xen_args))),
            dom0_args=" ".join(filter(None, (spec.dom0_args, self.dom0_args))),
        )

    def unable(self, item: pytest.Item) -> str:
        """Why what was built cannot run a test; empty if it can."""
        accelerator = self.machines.accelerator
        emulated = accelerator is None or accelerator.kind == "tcg"
        return unable(item, self.cell(item), self.lacks, emulated=emulated)


class Running:
    """One test from its start to its verdict."""

    def __init__(self, result: TestResult) -> None:
        self.result = result
        self.endings: list[judge.Ending] = []
        self.crash: judge.CrashLike | None = None
        self.rows: list[Row] = []
        self.guests: list[str] = []
        self.remark = ""  # on a pass
        self.bare: BareRun | None = None
        self.started = time.monotonic()
        self.subtests: list[str] = []  # of each, why it was skipped; empty if it was not
        self.within = False  # whether the test's own function runs
        self.faulty = False  # whether a fault of this host has taken its machine
        self.known_before = 0  # crash reports that were passed over before this test

    @property
    def went_wrong(self) -> bool:
        return self.crash is not None or any(e.verdict is not Verdict.SKIP for e in self.endings)


class SessionPlugin:
    """Passes a Session to pytest: ``pytest.main([...], plugins=[SessionPlugin(session)])``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[SESSION] = self._session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._session.collect_errors.append(f"{report.nodeid}: {report.longreprtext.strip()}")

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        """Note old names in the report: pytest's own summary of warnings goes to a file."""
        notes = self._session.recorder.record.notes
        text = f"{nodeid or warning_message.filename}: {warning_message.message}"
        if issubclass(warning_message.category, RenamedWarning) and text not in notes:
            notes.append(text)


# For fixtures.


def session_of(request: pytest.FixtureRequest) -> Session:
    """The session of the run that a fixture belongs to.

    Raises:
        UserError: under plain pytest.
    """
    session = request.config.stash.get(SESSION, None)
    if session is None or session.running is None:
        raise UserError(
            "this test needs a nested Xen, which plain pytest does not build or boot",
            hint="Run it with `evh run FILE`.",
        )
    return session


def running_of(request: pytest.FixtureRequest) -> Running:
    """The running test, which requested the fixture.

    Raises:
        UserError: under plain pytest.
    """
    running = session_of(request).running
    assert running is not None
    return running

