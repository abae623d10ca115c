# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects the cells that a run would run, without a build and without a run folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from harness.build.recipes import pair_name
from harness.core.errors import EvhError
from harness.core.records import GuestSpec
from harness.monitor.knownissues import KnownIssues
from harness.plan.cells import Cell
from harness.plan.selection import pytest_targets
from harness.run.backends import Backends, real_backends
from harness.run.kunit import KUnitCells
from harness.run.planning import Plan, plan_of
from harness.run.pool import Machines
from harness.run.record import RunRecord
from harness.run.recorder import Recorder, now
from harness.run.request import RunRequest
from harness.run.run import pytest_problem, run_pytest
from harness.run.session import Session
from harness.run.xtf import XtfCells
from harness.store.artifacts import Store

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.guest.guest import Guest
    from harness.machine.machine import Machine


def collect(
    request: RunRequest, *, progress: Progress, count: int = 1, backends: Backends | None = None
) -> Plan:
    """The plan that ``run.run`` would make of a request.

    Nothing is built, except XTF if it is asked for, since its kernels say which tests there are.

    Args:
        count: cut it into so many shards, if the request names none.

    Raises:
        UserError: the selection is wrong, or a test file cannot be read.
    """
    targets = pytest_targets(request.selection)
    with tempfile.TemporaryDirectory(prefix="evh-plan-") as folder:
        record = RunRecord(id="plan", command=[], reproduce="", started=now())
        recorder = Recorder(run_dir=Path(folder), record=record)
        session = Session(
            machines=Machines(make=_never, recorder=recorder, progress=progress),
            recorder=recorder,
            progress=progress,
            selection=request.selection,
            base=pair_name(request.trees),
            start_guest=_never_started,
            shard=request.shard,
            estimates=request.estimates,
            xen_args=request.xen_args,
            dom0_args=request.dom0_args,
        )
        known = KnownIssues()
        kunit = KUnitCells(recorder=recorder, progress=progress, build=_never, known=known)
        xtf = XtfCells(recorder=recorder, progress=progress, store=Store(), known=known)
        if request.selection.xtf is not None:
            xtf.found((backends or real_backends()).xtf(request, progress))
        code = run_pytest(session, targets=targets, plugins=[kunit, xtf], collect_only=True)
        if problem := pytest_problem(code, session):
            hint = "`evh run` with the same options keeps pytest's output."
            raise type(problem)(problem.message, hint=hint)
        xtf.check_selected(session.planned)
    plan = session.plan or plan_of([])
    if count > 1:
        return plan_of([(Cell.parse(one.cell), one.estimate) for one in plan.cells], count=count)
    return plan


def _never(*args: object) -> NoReturn:
    raise EvhError("a plan boots and builds nothing", hint="This is a bug in the harness.")


def _never_started(machine: Machine, spec: GuestSpec) -> Guest:
    _never(machine, spec)
