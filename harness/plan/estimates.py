# SPDX-License-Identifier: GPL-2.0-or-later
"""What a cell is expected to need: time, memory, cores, and the boot that it shares with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median

from harness.core.errors import UserError
from harness.core.records import MachineSpec
from harness.plan.cells import Cell


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one cell is expected to need.

    Attributes:
        seconds: wall-clock time, without that of its boot.
        boot: name of what is booted for it; cells of one run with equal names share the boot. Empty: nothing.
        boot_seconds: wall-clock time of that boot.
        memory_mib: memory of the machine.
        cores: CPUs that the machine keeps busy; 1 where it runs on one thread.
        runs: in how many earlier runs it was measured; 0: a guess.
    """

    seconds: float
    boot: str = ""
    boot_seconds: float = 0.0
    memory_mib: int = 0
    cores: int = 1
    runs: int = 0


def machine_boot(spec: MachineSpec) -> str:
    """The name of a machine's boot."""
    return "machine " + " ".join(f"{name}={value}" for name, value in asdict(spec).items() if value)


def kin(cell: Cell) -> tuple[str, ...]:
    """What a cell has in common with those that differ only in base, flavour or seed."""
    return (cell.guest, cell.abi, cell.suite, cell.test)


@dataclass(frozen=True)
class Estimates:
    """Estimates by cell id. A cell that never ran gets those of its kin, if there are any."""

    cells: Mapping[str, Estimate] = field(default_factory=dict)
    _kin: dict[tuple[str, ...], list[Estimate]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in sorted(self.cells):
            try:
                self._kin.setdefault(kin(Cell.parse(name)), []).append(self.cells[name])
            except UserError:
                continue  # a cell of another version of the harness; it is found by its id alone

    def of(self, cell: Cell) -> Estimate | None:
        """The estimate of a cell; None if neither it nor its kin is known.

        A boot is not shared with kin, whose seed, Xen or Linux is another one.
        """
        if found := self.cells.get(cell.id):
            return found
        near = self._kin.get(kin(cell))
        if not near:
            return None
        boots = any(one.boot for one in near)
        return Estimate(
            seconds=median(one.seconds for one in near),
            boot=f"{cell.base}/{cell.flavour}/{cell.guest}/{cell.suite}/{cell.seed}" if boots else "",
            boot_seconds=median(one.boot_seconds for one in near),
            memory_mib=max(one.memory_mib for one in near),
            cores=max(one.cores for one in near),
            runs=max(one.runs for one in near),
        )
