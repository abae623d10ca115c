# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts machines, one at a time; tests that need equal machines share one.

A machine is restored from a snapshot if the store has one for it. Else it is booted, and saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import EvhError
from harness.core.records import Accelerator, MachineSpec, Verdict
from harness.core.text import tail
from harness.monitor.waits import Crash, MachineCrashed, MachineLost
from harness.run.record import ConsoleRecord, MachineRecord
from harness.run.recorder import Recorder

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.machine.machine import Machine
    from harness.machine.snapshot import Snapshot
    from harness.run.snapshots import Snapshots

# The machine that proves that KVM can save and restore: small, and quick to boot.
TRIAL = MachineSpec(memory_mib=1024, dom0_mib=512, vcpus=1)
BOOT_ATTEMPTS = 2  # per spec; after that, further tests would only wait for the same failure


class Machines:
    """Starts the machine that a test asks for, unless the current one has the same spec and is not lost.

    Args:
        make: makes a Machine, not booted yet, for a spec, a folder and an
            accelerator.
        recorder: its run folder gets one folder per machine.

    Attributes:
        accelerator: the run's; set it before the first machine.
        snapshots: where machines are restored from; None: each is booted.
    """

    def __init__(
        self,
        *,
        make: Callable[[MachineSpec, Path, Accelerator], Machine],
        recorder: Recorder,
        progress: Progress,
    ) -> None:
        self._make = make
        self.accelerator: Accelerator | None = None
        self.snapshots: Snapshots | None = None
        self._proven = False
        self._used = False  # whether a test has had the current machine
        self._recorder = recorder
        self._progress = progress
        self._stack = ExitStack()
        self._failures: dict[MachineSpec, list[BaseException]] = {}
        self.current: Machine | None = None
        self.spec: MachineSpec | None = None
        self.dir: Path | None = None  # still set after the machine is gone
        self.number = 0
        self.lost = ""

    @property
    def next_number(self) -> int:
        return self.number + 1

    def fits(self, spec: MachineSpec, *, clean: bool = False) -> bool:
        """Whether ``get`` would return the current machine."""
        fits = self.current is not None and self.spec == spec and not self.lost
        return fits and not (clean and self._used)

    def get(self, spec: MachineSpec, *, clean: bool = False) -> Machine:
        """A machine of this spec that has just been started, or that an earlier test has left.

        Args:
            clean: no test has used it before.

        Raises:
            MachineLost: the boot failed. After ``BOOT_ATTEMPTS`` failures the
                last error is raised again without another boot.
        """
        if self.fits(spec, clean=clean):
            assert self.current is not None
            self._used = True
            return self.current
        self.close()
        failures = self._failures.setdefault(spec, [])
        if len(failures) >= BOOT_ATTEMPTS:
            raise failures[-1]
        try:
            machine = self._started(spec)
        except Exception as e:
            failures.append(e)
            self.lose(str(e))
            raise
        self._used = True
        self._recorder.save(whole=True)
        return machine

    def _started(self, spec: MachineSpec) -> Machine:
        self._prove_snapshots()
        machine, entry = self._new(spec)
        if self.snapshots is not None:
            with self.snapshots.find(machine) as snapshot:
                if snapshot is not None:
                    if self._restore(machine, entry, snapshot):
                        return machine
                    machine, entry = self._new(spec)
        self._boot(machine, entry)
        if self.snapshots is not None:
            began = time.monotonic()
            with self._recorder.doing(f"save machine {entry.number}"):
                saved = self.snapshots.save(machine)
            entry.save_seconds = round(time.monotonic() - began, 3) if saved else None
        return machine

    def _prove_snapshots(self) -> None:
        """Before the first machine on KVM: see whether it can be restored."""
        accelerator = self.accelerator
        if self._proven or self.snapshots is None or accelerator is None or accelerator.kind != "kvm":
            return
        self._proven = True
        folder, title = self._recorder.run_dir / "snapshot-proof", "prove the snapshots"
        with self._recorder.doing(title), self._progress.step(title):
            if not self.snapshots.proven(lambda where: self._make(TRIAL, where, accelerator), folder):
                self.snapshots = None

    def _new(self, spec: MachineSpec) -> tuple[Machine, MachineRecord]:
        """A machine, not started yet, and its entry in run.json."""
        self.number += 1
        self.spec, self.lost = spec, ""
        self.dir = self._recorder.run_dir / f"machine-{self.number}"
        self.dir.mkdir(parents=True, exist_ok=True)
        entry = MachineRecord(number=self.number, **asdict(spec))
        self._recorder.record.machines.append(entry)
        assert self.accelerator is not None, "it is chosen and proven before the tests"
        return self._stack.enter_context(self._make(spec, self.dir, self.accelerator)), entry

    def _boot(self, machine: Machine, entry: MachineRecord) -> None:
        self._start("boot", machine, entry, machine.boot)
        entry.boot_seconds = round(machine.boot_seconds, 3)

    def _restore(self, machine: Machine, entry: MachineRecord, snapshot: Snapshot) -> bool:
        """Restore a machine.

        Returns: whether it came up; if not, it is closed.
        Raises: MachineCrashed: it crashed, or it had when it was saved. No boot must hide that.
        """
        assert self.snapshots is not None
        entry.started, entry.snapshot = "restored", snapshot.facts.made
        try:
            self._start("restore", machine, entry, lambda: machine.restore(snapshot))
        except MachineCrashed as crash:
            self.snapshots.refuse(machine, crash)
            raise
        except (EvhError, OSError) as error:
            self.snapshots.refuse(machine, error)
            self.lose(f"it was not restored: {error}")
            return False
        entry.boot_seconds = round(machine.boot_seconds, 3)
        entry.restore_seconds = round(machine.restore_seconds or 0.0, 3)
        return True

    def _start(
        self, how: str, machine: Machine, entry: MachineRecord, start: Callable[[], object]
    ) -> None:
        title = f"{how} machine {self.number} (dom0 {entry.abi}, {entry.memory_mib} MiB)"
        with self._recorder.doing(title), self._progress.step(title):
            self.current = machine
            start()
        entry.time_scale = round(machine.watchdog.time_scale, 2)

    def find_crash(self) -> Crash | None:
        """First crash line in any console of the current machine, or the death of its QEMU.

        A test may have swallowed the exception about the death, or may not
        have waited for the machine since.
        """
        if self.current is None:
            return None
        crash = self.current.consoles.find_crash()
        loss = None if crash else self._loss()
        if loss is not None and loss.verdict is Verdict.CRASH:
            crash = Crash(layer=loss.layer or "qemu", line=loss.message, seconds=0.0, excerpt=loss.hint)
        return crash

    def find_fault(self) -> MachineLost | None:
        """Why the current machine is lost if not by a crash: a console or its disk cannot be written."""
        loss = self._loss()
        return None if loss is None or loss.verdict is Verdict.CRASH else loss

    def _loss(self) -> MachineLost | None:
        if self.current is not None and self.current.watchdog.lost:
            try:
                self.current.watchdog.check()
            except MachineLost as loss:
                return loss
        return None

    def excerpt(self) -> str:
        crash = self.find_crash()
        return crash.excerpt if crash else ""

    def tails(self, *, lines: int) -> dict[str, str]:
        """Last lines of each console, by layer; also after the machine is gone."""
        return {layer: tail(path, lines=lines) for layer, path in console_files(self.dir)} if self.dir else {}

    def lose(self, reason: str) -> None:
        """Tear the machine down now; the next ``get`` boots a new one."""
        if self.number and not self.lost:
            self.lost = reason or "lost"
            for entry in self._recorder.record.machines:
                if entry.number == self.number:
                    entry.lost = self.lost
        self.close()

    def close(self) -> None:
        """Tear the machine down and list its consoles in run.json."""
        stack, self._stack, self.current = self._stack, ExitStack(), None
        try:
            stack.close()
        finally:
            self.list_consoles()

    def list_consoles(self) -> None:
        if self.dir is None:
            return
        record = self._recorder.record
        record.consoles = [c for c in record.consoles if c.machine != self.number]
        for layer, path in console_files(self.dir):
            name = str(path.relative_to(self._recorder.run_dir))
            record.consoles.append(
                ConsoleRecord(layer=layer, file=name, bytes=path.stat().st_size, machine=self.number)
            )
        self._recorder.save(whole=True)


def console_files(folder: Path) -> list[tuple[str, Path]]:
    """Layers and raw files of a machine's recorded consoles (monitor/consoles.py names the files)."""
    return [
        (path.stem.removeprefix("console-").replace("guest-", "guest:", 1), path)
        for path in sorted(folder.glob("console-*.log"))
    ]
