# SPDX-License-Identifier: GPL-2.0-or-later
"""Estimates of time, memory and cores, made from earlier runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from harness.core.errors import UserError
from harness.core.records import Abi, MachineSpec, Verdict
from harness.history.runs import read_runs
from harness.plan.estimates import Estimate, Estimates, machine_boot
from harness.run.planning import estimates_in, load_plan
from harness.run.record import RUN_JSON, BootRecord, MachineRecord, RunRecord, load

# A cell's time is the median of so many of its newest runs.
RUNS = 10


def read_estimates(where: Path) -> tuple[Estimates, str]:
    """Estimates from a folder of runs, one run, or a plan.

    Returns:
        The estimates, and a line that says what they were made from.

    Raises:
        UserError: there is nothing to read at ``where``, or a named file is neither a run nor a plan.
    """
    if where.is_file() and where.name != RUN_JSON:
        plan = load_plan(where)
        return estimates_in(plan), f"estimates: those of {where}"
    if not where.exists():
        raise UserError(
            f"no estimates at {where}: there is no such file or folder",
            hint="Name a folder of runs, or a file that evh plan --json has printed.",
        )
    if where.is_file() or (where / RUN_JSON).is_file():
        return from_runs([load(where)[1]])
    runs, unread = read_runs(where)
    estimates, said = from_runs([run.record for run in runs])
    return estimates, said + (f"; {len(unread)} runs could not be read" if unread else "")


def from_runs(records: list[RunRecord]) -> tuple[Estimates, str]:
    """Estimates from records, and a line on where they come from.

    Only the runs with the accelerator of the newest one count: another one is several times faster or slower.
    """
    usable = sorted(
        (record for record in records if record.accelerator is not None and record.tests),
        key=lambda record: (record.started, record.id),
    )
    if not usable:
        return Estimates(), "estimates: guesses, since there is no earlier run"
    kind = usable[-1].accelerator.kind if usable[-1].accelerator else ""
    usable = [record for record in usable if record.accelerator and record.accelerator.kind == kind]
    each: dict[str, list[Estimate]] = {}
    for record in usable:
        for cell, one in measured(record):
            each.setdefault(cell, []).append(one)
    cells = {cell: _of_one(found[-RUNS:]) for cell, found in each.items()}
    return Estimates(cells), f"estimates: from {len(usable)} runs with {kind}"


def _of_one(found: list[Estimate]) -> Estimate:
    newest = found[-1]
    return Estimate(
        seconds=median(one.seconds for one in found),
        boot=newest.boot,
        boot_seconds=median(one.boot_seconds for one in found if one.boot == newest.boot),
        memory_mib=newest.memory_mib,
        cores=newest.cores,
        runs=len(found),
    )


def measured(record: RunRecord) -> Iterator[tuple[str, Estimate]]:
    """What one run says about each of its cells. The first cell of a boot has waited for it."""
    machines = {machine.number: machine for machine in record.machines}
    boots = {boot.number: boot for boot in record.boots}
    paid: set[tuple[str, int]] = set()
    for test in record.tests:
        if test.verdict is None or test.verdict is Verdict.ERROR:
            continue  # says nothing about how long the cell takes
        boot: Estimate | None = None
        took = 0.0
        if test.boot is not None and test.boot in boots:
            boot, key = _bare(boots[test.boot]), ("boot", test.boot)
            took = boot.boot_seconds
        elif test.machine is not None and test.machine in machines:
            boot, key = _machine(machines[test.machine]), ("machine", test.machine)
            took = _start_seconds(machines[test.machine])
        if boot is None:
            yield test.cell, Estimate(seconds=test.seconds)
            continue
        own = test.seconds - (took if key not in paid else 0.0)
        paid.add(key)
        yield (
            test.cell,
            Estimate(
                seconds=max(0.0, own), boot=boot.boot, boot_seconds=boot.boot_seconds,
                memory_mib=boot.memory_mib, cores=boot.cores,
            ),
        )  # fmt: skip


def _bare(boot: BootRecord) -> Estimate:
    name = f"{boot.kind} {boot.args} {boot.vcpus} {boot.memory_mib} {boot.xen_args} {boot.deterministic}"
    return Estimate(
        seconds=0.0, boot=name, boot_seconds=boot.seconds, memory_mib=boot.memory_mib,
        cores=1 if boot.deterministic else boot.vcpus,
    )  # fmt: skip


def _start_seconds(machine: MachineRecord) -> float:
    """What the first cell on a machine spent on having it: its restore, or its boot and its being saved."""
    if machine.restore_seconds is not None:
        return machine.restore_seconds
    return (machine.boot_seconds or 0.0) + (machine.save_seconds or 0.0)


def _machine(machine: MachineRecord) -> Estimate:
    words = {name: getattr(machine, name) for name in MachineSpec.__dataclass_fields__}
    spec = MachineSpec(**words | {"abi": Abi(machine.abi)})
    return Estimate(
        seconds=0.0, boot=machine_boot(spec), boot_seconds=machine.boot_seconds or 0.0,
        memory_mib=machine.memory_mib, cores=machine.vcpus,
    )  # fmt: skip
