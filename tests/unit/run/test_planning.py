# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans: their identity, and their file."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights import cell

from harness.core.errors import InfraError, UserError
from harness.core.records import Verdict
from harness.plan.cells import Cell
from harness.plan.estimates import Estimate
from harness.plan.shards import Shard
from harness.run.planning import PLAN_JSON, estimates_in, load_plan, plan_of, shard_of, write_plan

CELLS = [
    (cell(f"t{n}"), Estimate(seconds=1.23456 * n, boot=f"b{n % 3}", boot_seconds=2, runs=n)) for n in range(9)
]


def test_shards_of_one_plan_have_one_id_and_make_a_whole() -> None:
    parts = [plan_of(CELLS, Shard(number=n, count=3)) for n in (1, 2, 3)]
    assert len({part.id for part in parts}) == 1
    assert sorted(one.cell for part in parts for one in part.mine) == sorted(c.id for c, _ in CELLS)
    assert plan_of(CELLS, count=3).id == parts[0].id
    assert plan_of(CELLS, count=2).id != parts[0].id != plan_of(CELLS[1:], count=3).id
    assert len(plan_of(CELLS).mine) == 9


def test_plan_that_is_read_back_is_cut_alike(tmp_path: Path) -> None:
    """`evh run --estimates plan.json` on another host makes the shards that `evh plan` listed."""
    write_plan(tmp_path, plan_of(CELLS))
    known = estimates_in(load_plan(tmp_path / PLAN_JSON))
    again = [(one, known.of(one)) for one, _ in CELLS]
    assert plan_of(again, count=3) == plan_of(CELLS, count=3)


def test_plan_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / PLAN_JSON).symlink_to("/dev/full")
    with pytest.raises(InfraError, match="cannot write"):
        write_plan(tmp_path, plan_of(CELLS))
    with pytest.raises(UserError):
        load_plan(tmp_path / "none")


def test_a_run_writes_its_plan_before_anything_is_built(evh) -> None:
    seen = []

    def build():
        seen.append(load_plan(next(Path("runs").glob("*/plan.json"))))
        raise InfraError("no")

    from fakes import fake_backends

    evh("def test_a(): pass\ndef test_b(): pass\n", backends=fake_backends([], build=build))
    assert [one.cell.split("::")[1] for one in seen[0].cells] == ["test_a/1", "test_b/1"]


def test_shard_without_cells_says_so(evh, tmp_path: Path) -> None:
    from harness.report.tables import headline

    got = evh("def test_a(): pass\n", shard=Shard(number=2, count=2))
    assert got.record.verdict is Verdict.SKIP and got.record.exit_code == 6
    assert headline(got.record) == "shard 2/2 has none of the 1 cells, so nothing was run"


def test_plan_that_is_cut_already(evh, tmp_path: Path) -> None:
    text = "@pytest.mark.parametrize('n', range(4))\ndef test_it(n): pass\n"
    cells = evh(text).record.tests
    assert len(cells) == 4
    odd = [(Cell.parse(test.cell), Estimate(seconds=9 if at == 2 else 1)) for at, test in enumerate(cells)]
    plan = plan_of(odd, count=2)
    part = Shard(number=1, count=2)
    first = shard_of(plan, part, path=tmp_path)
    assert [test.test for test in evh(text, shard=part, plan=first).record.tests] == ["test_it[2]"]
    with pytest.raises(UserError, match="is cut into 2 shards, not 3"):
        shard_of(plan, Shard(number=1, count=3), path=tmp_path)
    with pytest.raises(UserError, match="is cut into 1 shards"):
        shard_of(plan_of(odd), Shard(number=1, count=1), path=tmp_path)
    more = evh(text + "def test_new(): pass\n", shard=part, plan=first).record
    assert more.exit_code == 2 and "the plan does not have the cell" in more.error.message
