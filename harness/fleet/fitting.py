# SPDX-License-Identifier: GPL-2.0-or-later
"""How many workers fit on this host, and which cells each gets."""

from __future__ import annotations

import os

from harness.core.errors import UserError
from harness.plan.cells import Cell
from harness.plan.shards import cut
from harness.plan.suites import SUITES
from harness.run.planning import Plan, PlannedCell, plan_id

# A fifth of the memory is the host's. QEMU needs so many MiB beside the machine's memory.
SHARE = 0.8
QEMU_MIB = 256
MOST = 64


def memory_mib() -> int:
    """The host's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def fitting(plan: Plan, *, cores: int, memory: int) -> int:
    """How many workers fit: one for each core, as long as each may boot the largest machine of the plan.

    Args:
        cores: CPUs of the host.
        memory: its memory, in MiB.
    """
    largest = max((one.memory_mib for one in plan.cells), default=0) + QEMU_MIB
    return max(1, min(cores, int(memory * SHARE) // largest, len(plan.cells), MOST))


def count_of(text: str, plan: Plan) -> int:
    """The number of workers that ``auto`` or a number asks for.

    Raises:
        UserError: it is neither, or so many do not fit into the host's memory.
    """
    if text == "auto":
        return fitting(plan, cores=len(os.sched_getaffinity(0)), memory=memory_mib())
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UserError(f"--workers {text}: not a number of workers", hint=f"Write auto, or 1 to {MOST}.")
    if (most := fitting(plan, cores=int(text), memory=memory_mib())) < min(int(text), len(plan.cells)):
        raise UserError(
            f"--workers {text}: four fifths of this host's memory suffice for {most}",
            hint="--workers auto takes as many as fit.",
        )
    return min(int(text), max(1, len(plan.cells)))


def cut_for_workers(plan: Plan, workers: int) -> Plan:
    """Cut a plan into a shard for each worker, and one more for cells that measure time, if there are any."""
    timed = [one for one in plan.cells if is_timed(one.cell)]
    rest = [one for one in plan.cells if not is_timed(one.cell)]
    chosen = dict(zip((one.cell for one in rest), cut([one.estimate for one in rest], workers), strict=True))
    count = workers + bool(timed)
    cells = [_in_shard(one, chosen.get(one.cell, count)) for one in plan.cells]
    return Plan(id=plan_id(cells, count), of=count, cells=cells)


def is_timed(cell: str) -> bool:
    """Whether a cell measures time, so that nothing may run beside it."""
    suite = SUITES.get(Cell.parse(cell).suite)
    return suite is not None and suite.timed


def _in_shard(one: PlannedCell, shard: int) -> PlannedCell:
    return PlannedCell(**{name: getattr(one, name) for name in one.__struct_fields__} | {"shard": shard})
