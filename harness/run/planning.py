# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a run: its cells, what each is expected to need, and the shard that runs it.

A run writes it as ``plan.json`` beside ``run.json``, and `evh plan --json` prints the same document. It
does not change during the run, so it names the cells that a killed run has not reached.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from harness.core.errors import InfraError, UserError
from harness.core.records import Abi
from harness.machine.bare import BareSpec
from harness.plan.cells import Cell
from harness.plan.estimates import Estimate, Estimates, machine_boot
from harness.plan.shards import Shard, cut
from harness.plan.suites import SUITES
from harness.run.collection import spec_of

SCHEMA = 1
PLAN_JSON = "plan.json"

# Guesses for what never ran, in seconds on the reference host: a test of no suite, and the boots.
TEST_SECONDS = 10.0
MACHINE_SECONDS = 10.0
BARE_SECONDS = 5.0


class PlannedCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of the plan. ``shard`` is 0 if the plan is not cut; the rest is as in ``Estimate``."""

    cell: str
    shard: int = 0
    seconds: float
    boot: str = ""
    boot_seconds: float = 0.0
    memory_mib: int = 0
    cores: int = 1
    runs: int = 0

    @property
    def estimate(self) -> Estimate:
        return Estimate(
            seconds=self.seconds, boot=self.boot, boot_seconds=self.boot_seconds,
            memory_mib=self.memory_mib, cores=self.cores, runs=self.runs,
        )  # fmt: skip


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The document.

    Attributes:
        id: hash of all cells and their shards: parts with one id make a whole.
        shard: the part that this run runs; 0: all of it.
        of: number of shards; 1 if the plan is not cut.
        cells: of all shards, in the order of the run.
    """

    schema: int = SCHEMA
    id: str
    shard: int = 0
    of: int = 1
    cells: list[PlannedCell]

    @property
    def mine(self) -> list[PlannedCell]:
        """The cells that this run runs."""
        return [one for one in self.cells if not self.shard or one.shard == self.shard]


def plan_of(
    cells: Sequence[tuple[Cell, Estimate]], shard: Shard | None = None, *, count: int = 1
) -> Plan:
    """Make a plan of cells, cut into shards if one is asked for, or ``count`` of them."""
    count = shard.count if shard else count
    chosen = cut([estimate for _, estimate in cells], count) if shard or count > 1 else [0] * len(cells)
    planned = [
        PlannedCell(
            cell=cell.id, shard=number, seconds=round(one.seconds, 3), boot=one.boot,
            boot_seconds=round(one.boot_seconds, 3), memory_mib=one.memory_mib, cores=one.cores,
            runs=one.runs,
        )
        for (cell, one), number in zip(cells, chosen, strict=True)
    ]  # fmt: skip
    return Plan(
        id=plan_id(planned, count), shard=shard.number if shard else 0, of=count, cells=planned
    )


def plan_id(cells: Sequence[PlannedCell], count: int) -> str:
    """The hash of all cells and their shards."""
    said = msgspec.json.encode([count, [[one.cell, one.shard] for one in cells]])
    return hashlib.sha256(said).hexdigest()[:16]


def estimated(
    items: Sequence[pytest.Item],
    *,
    cell: Callable[[pytest.Item], Cell],
    known: Estimates,
    default_abi: Abi,
) -> list[tuple[Cell, Estimate]]:
    """The cell of each collected test, with what earlier runs say about it, or a guess.

    The guess divides the time of a suite evenly, so it depends on nothing but the selection.

    Args:
        cell: gives a test's cell.
        default_abi: as for ``spec_of``.
    """
    cells = [cell(item) for item in items]
    alike = Counter(one.suite for one in cells)
    return [
        (one, known.of(one) or _guess(item, one, alike[one.suite], default_abi))
        for item, one in zip(items, cells, strict=True)
    ]


def _guess(item: pytest.Item, cell: Cell, alike: int, default_abi: Abi) -> Estimate:
    suite = SUITES.get(cell.suite)
    seconds = suite.minutes * 60 / alike if suite else TEST_SECONDS
    fixtures = getattr(item, "fixturenames", ())
    if "machine" in fixtures:
        spec = spec_of(item, default_abi=default_abi)
        return Estimate(
            seconds=seconds, boot=machine_boot(spec), boot_seconds=MACHINE_SECONDS,
            memory_mib=spec.memory_mib, cores=spec.vcpus,
        )  # fmt: skip
    usual = BareSpec(kind=cell.guest)
    boots = "bare" in fixtures or "kunit" in fixtures
    return Estimate(
        seconds=seconds,
        boot=f"{cell.base}/{cell.flavour}/{cell.guest}/{cell.suite}/{cell.seed}" if boots else "",
        boot_seconds=BARE_SECONDS if boots else 0.0,
        memory_mib=usual.memory_mib,
        cores=usual.vcpus,
    )


def shard_of(plan: Plan, shard: Shard, *, path: Path) -> Plan:
    """The plan as the run of one of its shards sees it.

    Args:
        path: its file, for the message.

    Raises:
        UserError: it was not cut into as many shards.
    """
    if plan.of != shard.count or any(not one.shard for one in plan.cells):
        raise UserError(
            f"{path} is cut into {plan.of} shards, not {shard.count}",
            hint=f"evh plan --shards {shard.count} --json > plan.json cuts it so.",
        )
    return msgspec.structs.replace(plan, shard=shard.number)


def estimates_in(plan: Plan) -> Estimates:
    """The estimates that a plan was made with."""
    return Estimates({one.cell: one.estimate for one in plan.cells})


def write_plan(folder: Path, plan: Plan) -> None:
    """Write a run's plan into its folder.

    Raises:
        InfraError: the disk is full, for example.
    """
    path = folder / PLAN_JSON
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")
    except OSError as error:
        raise InfraError(
            f"cannot write {path}: {error.strerror}",
            hint="Free some space (evh clean shows what uses it), or name another folder with --run-dir.",
        ) from error


def load_plan(path: Path) -> Plan:
    """Read a plan, as a run or `evh plan --json` wrote it.

    Raises:
        UserError: it cannot be read, or it is none.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", hint="Name a file of evh plan --json."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a plan that this version understands: {error}",
            hint="evh plan --json > plan.json makes one.",
        ) from error
    if plan.schema > SCHEMA:
        raise UserError(f"{path} is a plan of a newer version", hint="Use the version that made it.")
    return plan
