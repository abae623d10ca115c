# SPDX-License-Identifier: GPL-2.0-or-later
"""Estimates out of earlier runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from nights import cell

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.history.estimates import RUNS, from_runs, read_estimates
from harness.run.planning import load_plan
from harness.run.record import AcceleratorRecord, MachineRecord, load

PASS = Verdict.PASS


def test_a_cells_time_is_the_median_without_its_boot(recorded_run, tmp_path: Path) -> None:
    for night, seconds in enumerate((5.5, 4.5, 90.5), 1):
        recorded_run(
            f"n{night}", {"a": PASS}, seconds={"a": seconds}, started=f"2026-11-0{night}T01:00:00.000+00:00",
            deterministic=True,
        )  # fmt: skip
    estimates, said = read_estimates(tmp_path / "runs")
    found = estimates.of(cell("a"))
    assert found is not None
    assert (found.seconds, found.boot_seconds, found.runs) == (5.0, 0.5, 3)
    assert (found.memory_mib, found.cores) == (1024, 1)
    assert said == "estimates: from 3 runs with tcg"


def test_only_the_first_cell_of_a_machine_waited_for_its_boot(recorded_run) -> None:
    _, record = load(recorded_run("one", {"a": PASS, "b": PASS}, seconds={"a": 15, "b": 4}))
    spec = {"abi": "3l", "memory_mib": 3072, "dom0_mib": 1024, "vcpus": 2}
    record.machines = [MachineRecord(number=1, boot_seconds=10, **spec)]
    for test in record.tests:
        test.machine, test.boot = 1, None
    estimates, _ = from_runs([record])
    a, b = estimates.of(cell("a")), estimates.of(cell("b"))
    assert a and b
    assert (a.seconds, b.seconds) == (5, 4)
    assert a.boot == b.boot != "" and a.boot_seconds == 10
    assert (a.memory_mib, a.cores) == (3072, 2)


@pytest.mark.parametrize(
    ("words", "first"), [({"restore_seconds": 2}, 6), ({"save_seconds": 3}, 17), ({}, 14)]
)
def test_first_cell_of_a_machine_waited_for_its_restore_or_its_boot_and_save(
    recorded_run, words: dict[str, float], first: float
) -> None:
    """The cell itself takes four seconds."""
    _, record = load(recorded_run("one", {"a": PASS}, seconds={"a": first}))
    spec = {"abi": "3l", "memory_mib": 3072, "dom0_mib": 1024, "vcpus": 2}
    record.machines = [MachineRecord(number=1, boot_seconds=10, **spec, **words)]
    record.tests[0].machine, record.tests[0].boot = 1, None
    found = from_runs([record])[0].of(cell("a"))
    assert found is not None and (found.seconds, found.boot_seconds) == (4, 10)


def test_runs_with_another_accelerator_do_not_count(recorded_run) -> None:
    times = {"old": 100.5, "new": 1.5}
    records = [load(recorded_run(name, {"a": PASS}, seconds={"a": time}))[1] for name, time in times.items()]
    records[1].accelerator = AcceleratorRecord(kind="kvm", reason="KVM")
    records[1].started = "2026-12-01T00:00:00.000+00:00"
    found = from_runs(records)[0].of(cell("a"))
    assert found is not None and (found.seconds, found.runs) == (1, 1)


def test_errors_and_what_did_not_end_do_not_count(recorded_run) -> None:
    records = [load(recorded_run("a", {"a": Verdict.ERROR, "b": None}, state="interrupted"))[1]]
    estimates = from_runs(records)[0]
    assert estimates.of(cell("a")) is None and estimates.of(cell("b")) is None


def test_only_the_newest_runs_count(recorded_run) -> None:
    records = [
        load(recorded_run(f"r{n:02}", {"a": PASS}, seconds={"a": 100.5 if n < 24 else 1.5}))[1]
        for n in range(24 + RUNS)
    ]
    for n, record in enumerate(records):
        record.started = f"2026-11-01T00:{n:02}:00.000+00:00"
    found = from_runs(records)[0].of(cell("a"))
    assert found is not None and found.runs == RUNS and found.seconds == 1


def test_a_plan_is_read_back(recorded_run, tmp_path: Path) -> None:
    path = recorded_run("one", {"a": PASS, "b": PASS}) / "plan.json"
    estimates, said = read_estimates(path)
    assert estimates.of(cell("a")) == load_plan(path).cells[0].estimate
    assert said == f"estimates: those of {path}"


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    (tmp_path / "new.json").write_bytes(msgspec.json.encode({"schema": 99, "id": "x", "cells": []}))
    for bad in ("x.json", "new.json", "none"):
        with pytest.raises(UserError):
            read_estimates(tmp_path / bad)
    assert read_estimates(tmp_path)[1] == "estimates: guesses, since there is no earlier run"
