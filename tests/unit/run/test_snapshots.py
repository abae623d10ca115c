# SPDX-License-Identifier: GPL-2.0-or-later
"""When machines are restored and saved, and what is told if they are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from harness.core.errors import InfraError
from harness.core.records import MachineSpec
from harness.machine import snapshot
from harness.machine.snapshot import Facts
from harness.monitor.waits import MachineDied, Silence
from harness.run.pool import TRIAL
from harness.run.snapshots import Snapshots
from harness.store import snapshots as store

FACTS = Facts(made="2026-01-01T00:00:00+00:00", boot_seconds=6.0, slowness=0.6, cpu_seconds=0.1)


class Trial:
    def __init__(self, root: Path) -> None:
        self.said: list[str] = []
        self.saves: list[Exception | None] = []
        self.snapshots = Snapshots(store.Snapshots(root), tell=self.said.append)
        self.machine: Any = SimpleNamespace(uri=None, spec=MachineSpec(memory_mib=512), save=self._save)

    def _save(self, folder: Path, error: Exception | None = None) -> None:
        if self.saves and (error := self.saves.pop(0)):
            (folder / "memory").write_bytes(b"half")
            raise error
        (folder / snapshot.META).write_bytes(msgspec.json.encode(FACTS))

    def found(self) -> Facts | None:
        with self.snapshots.find(self.machine) as found:
            return found.facts if found else None


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setattr(snapshot, "unsupported", lambda uri: "")
    monkeypatch.setattr(snapshot, "inputs_of", lambda machine: {"memory": str(machine.spec.memory_mib)})
    monkeypatch.setattr(snapshot, "files_of", lambda machine: {})
    return Trial(tmp_path)


def test_machine_that_was_saved_is_found_and_no_other(trial: Trial) -> None:
    assert trial.found() is None
    assert trial.snapshots.save(trial.machine)
    assert trial.found() == FACTS
    trial.machine.spec = MachineSpec(memory_mib=1024)
    assert trial.found() is None
    assert trial.said == []


def test_one_that_does_not_come_up_is_told_and_replaced(trial: Trial) -> None:
    trial.snapshots.save(trial.machine)
    trial.snapshots.refuse(trial.machine, MachineDied("QEMU ended\n  more"))
    assert trial.said == ["a snapshot did not come up and is replaced: QEMU ended"]
    assert trial.found() is None
    assert trial.snapshots.save(trial.machine)
    assert trial.found() == FACTS


def test_after_two_that_did_not_come_up_machines_are_booted_and_it_is_told_once(trial: Trial) -> None:
    for _ in range(store.TRIES):
        assert trial.snapshots.save(trial.machine)
        trial.snapshots.refuse(trial.machine, MachineDied("QEMU ended"))
    del trial.said[:]
    assert trial.found() is None
    assert not trial.snapshots.save(trial.machine)
    assert len(trial.said) == 1
    assert "2 of its snapshots did not come up" in trial.said[0] and "QEMU ended" in trial.said[0]


@pytest.mark.parametrize("error", [InfraError("QEMU refuses migrate"), OSError(28, "No space is left")])
def test_machine_that_cannot_be_saved_goes_on_and_it_is_told(trial: Trial, error: Exception) -> None:
    trial.saves = [error]
    assert not trial.snapshots.save(trial.machine)
    assert "a machine was not saved: " in trial.said[0]
    assert trial.found() is None
    assert trial.snapshots.save(trial.machine)


def test_loss_of_a_machine_while_it_is_saved_is_no_matter_of_the_snapshot(trial: Trial) -> None:
    trial.saves = [MachineDied("QEMU ended")]
    with pytest.raises(MachineDied):
        trial.snapshots.save(trial.machine)
    assert trial.found() is None


@pytest.mark.parametrize("damage", [lambda home: (home / "snapshot.json").write_text("{}"),
                                    lambda home: (home / "snapshot.json").unlink()])  # fmt: skip
def test_damaged_one_is_told_and_made_again(trial: Trial, damage: Callable[[Path], object]) -> None:
    trial.snapshots.save(trial.machine)
    (home,) = (path for path in trial.snapshots._kept.root.iterdir() if path.is_dir())
    damage(home)
    assert trial.found() is None
    assert len(trial.said) == 1 and "a snapshot is not used: " in trial.said[0]
    assert trial.snapshots.save(trial.machine)
    assert trial.found() == FACTS


def test_old_qemu_and_missing_files_are_told_once(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "unsupported", lambda uri: "QEMU 7.2 is older than 9.0")
    assert trial.found() is None
    assert not trial.snapshots.save(trial.machine)
    assert trial.said == ["machines are booted, not restored: QEMU 7.2 is older than 9.0"]
    monkeypatch.setattr(snapshot, "unsupported", lambda uri: "")
    monkeypatch.setattr(snapshot, "files_of", lambda machine: {"xen": Path("/nowhere/xen")})
    assert trial.found() is None
    assert "booted, not restored" in trial.said[1]


def test_nothing_is_saved_to_a_disk_that_it_might_fill(trial: Trial) -> None:
    trial.machine.spec = MachineSpec(memory_mib=1 << 40)
    assert not trial.snapshots.save(trial.machine)
    assert "MiB free" in trial.said[0]


class TrialMachine:
    """A machine of a trial, which does what the test says."""

    def __init__(self, trial: Trial, log: list[str], *, restore: Exception | None) -> None:
        self.uri, self.spec, self.save = None, TRIAL, trial.machine.save
        self.log, self._restore = log, restore

    def __enter__(self) -> TrialMachine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.log.append("close")

    def boot(self) -> None:
        self.log.append("boot")

    def restore(self, found: Any) -> None:
        self.log.append("restore")
        if self._restore:
            raise self._restore


@pytest.mark.parametrize("error", [None, Silence("dom0 does not answer")], ids=["it comes up", "it does not"])
def test_kvm_is_tried_once_for_a_host(trial: Trial, tmp_path: Path, error: Exception | None) -> None:
    log: list[str] = []

    def make(folder: Path) -> Any:
        return TrialMachine(trial, log, restore=error)

    assert trial.snapshots.proven(make, tmp_path / "proof") == (error is None)
    assert log == ["boot", "close", "restore", "close"]
    assert trial.snapshots.proven(make, tmp_path / "proof") == (error is None)
    assert len(log) == 4
    if error is not None:
        assert "a trial on this KVM failed: dom0 does not answer" in trial.said[0]
        assert "did not come up" in trial.said[-1]
