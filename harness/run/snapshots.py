# SPDX-License-Identifier: GPL-2.0-or-later
"""When a run restores a machine, and when it saves one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import EvhError, InfraError, reason_of
from harness.machine import snapshot
from harness.machine.snapshot import Snapshot
from harness.monitor.waits import MachineLost
from harness.store import snapshots as store

if TYPE_CHECKING:
    from harness.machine.machine import Machine

# Space for a snapshot's files and for what the run itself writes, besides all of the machine's memory.
SPARE = 1 << 30


class Snapshots:
    """The store's snapshots, for one run.

    Whatever keeps a machine from being restored or saved is told, and the machine is booted, or goes on,
    without a snapshot.

    Args:
        kept: the store's.
        tell: is told what the user should know; also for the run's notes.
    """

    def __init__(self, kept: store.Snapshots, *, tell: Callable[[str], object]) -> None:
        self._kept = kept
        self._tell = tell
        self._told: set[str] = set()

    def proven(self, make: Callable[[Path], Machine], folder: Path) -> bool:
        """Whether machines on this KVM can be saved and restored.

        KVM has to keep what Xen uses of the CPU's virtualisation, which only a trial shows: a machine is
        booted, saved and restored. The answer is kept for this QEMU, this host and these artifacts.

        Args:
            make: makes a small machine in a folder.
            folder: gets the consoles of the trial.
        """
        trial = make(folder / "booted")
        key = self._key(trial)
        if not key:
            return False
        with self.find(trial) as found:
            if found is not None:
                return True
        try:
            with trial:
                trial.boot()
                if not self.save(trial):
                    return False
            with self.find(trial) as found, make(folder / "restored") as second:
                if found is None:
                    return False
                second.restore(found)
        except (EvhError, OSError) as error:
            self._tell(f"machines are booted, not restored: a trial on this KVM failed: {reason_of(error)}")
            for _ in range(store.TRIES):
                self._kept.refuse(key, f"a trial on KVM failed: {reason_of(error)}")
            return False
        return True

    @contextmanager
    def find(self, machine: Machine) -> Iterator[Snapshot | None]:
        """The snapshot to restore a machine from, if there is one; it is kept while the block runs."""
        key = self._key(machine)
        if not key:
            yield None
            return
        with self._kept.open(key) as (folder, problem):
            found = None
            if folder is not None:
                try:
                    found = snapshot.load(folder)
                except InfraError as error:
                    problem = error.message
            if problem:
                self._once(f"a snapshot is not used: {problem}")
            yield found

    def refuse(self, machine: Machine, error: Exception) -> None:
        """The snapshot of this machine did not come up: tell, and remove it."""
        why = reason_of(error).splitlines()[0]
        self._tell(f"a snapshot did not come up and is replaced: {why}")
        try:
            self._kept.refuse(self._key(machine), why)
        except OSError as problem:
            self._tell(f"the snapshot cannot be removed: {problem}")

    def save(self, machine: Machine) -> bool:
        """Save a machine that was just booted, unless something speaks against it.

        Returns: whether it was saved.
        Raises: MachineLost: it crashed, or does not go on.
        """
        key = self._key(machine)
        if not key:
            return False
        try:
            self._kept.root.mkdir(parents=True, exist_ok=True)
            free, need = shutil.disk_usage(self._kept.root).free, (machine.spec.memory_mib << 20) + SPARE
            if free < need:
                free, need = free >> 20, need >> 20
                self._once(f"a machine was not saved: the store has {free} MiB free, and may need {need}")
                return False
            with self._kept.make(key) as folder:
                machine.save(folder)
        except MachineLost:
            raise
        except (EvhError, OSError) as error:
            self._once(f"a machine was not saved: {reason_of(error)}")
            return False
        return True

    def _key(self, machine: Machine) -> str:
        """Key of a machine's snapshot; empty if there is none, which is told."""
        try:
            if why := snapshot.unsupported(machine.uri):
                self._once(f"machines are booted, not restored: {why}")
                return ""
            key = self._kept.key(snapshot.inputs_of(machine), snapshot.files_of(machine))
        except (EvhError, OSError) as error:
            self._once(f"machines are booted, not restored: {reason_of(error)}")
            return ""
        refusals = self._kept.refusals(key)
        if len(refusals) >= store.TRIES:
            self._once(
                f"a machine is booted, not restored: {len(refusals)} of its snapshots did not come up,"
                f" the last one because of: {refusals[-1]} (evh clean forgets this)"
            )
            return ""
        return key

    def _once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
