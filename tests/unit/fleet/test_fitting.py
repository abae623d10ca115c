# SPDX-License-Identifier: GPL-2.0-or-later
"""How many workers fit, and what each gets."""

from __future__ import annotations

import pytest
from nights import cell

from harness.core.errors import UserError
from harness.fleet import fitting as module
from harness.fleet.fitting import count_of, cut_for_workers, fitting
from harness.plan.estimates import Estimate
from harness.run.planning import Plan, plan_of


def plan(*memory: int, suite: str = "race") -> Plan:
    each = [Estimate(seconds=5, memory_mib=mib) for mib in memory]
    return plan_of([(cell(f"t{n}", suite=suite), one) for n, one in enumerate(each)])


def test_a_fifth_of_the_memory_is_the_hosts() -> None:
    four = plan(768, 768, 768, 768)  # and 256 MiB of QEMU's own
    assert fitting(four, cores=8, memory=5120) == 4
    assert fitting(four, cores=8, memory=5119) == 3
    assert fitting(four, cores=2, memory=99999) == 2
    assert fitting(four, cores=8, memory=100) == 1
    assert fitting(plan(100), cores=8, memory=99999) == 1
    assert fitting(plan(), cores=8, memory=99999) == 1


def test_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_mib", lambda: 5120)
    four = plan(768, 768, 768, 768)
    assert count_of("3", four) == 3
    assert count_of("64", plan(100, 100)) == 2
    with pytest.raises(UserError, match="suffice for 2"):
        count_of("3", plan(1500, 1500, 1500))
    for bad in ("0", "65", "x", "-1", "", "1.5"):
        with pytest.raises(UserError, match="not a number of workers"):
            count_of(bad, four)


def test_cells_that_measure_time_are_alone() -> None:
    both = plan_of(
        [(cell(f"t{n}", suite="stress" if n % 3 == 0 else "race"), Estimate(seconds=5)) for n in range(9)]
    )
    cut = cut_for_workers(both, 2)
    assert cut.of == 3
    assert {one.shard for one in cut.cells if "/stress::" in one.cell} == {3}
    assert {one.shard for one in cut.cells if "/race::" in one.cell} == {1, 2}
    assert [one.cell for one in cut.cells] == [one.cell for one in both.cells]
    assert cut_for_workers(plan(1, 1), 2).of == 2
