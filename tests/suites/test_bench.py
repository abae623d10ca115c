# SPDX-License-Identifier: GPL-2.0-or-later
"""Cost of operations, in each ABI in turn (``images/bare/tests/bench.c``); the result is the metrics."""

from __future__ import annotations

import pytest

from harness.plan.guests import BARE_PV_GUESTS
from harness.run.cases import bare_cases

# With a second CPU, Xen waits for it to flush its TLB, and the instructions of that count.
ONE_CPU = "cost_of_the_switch"


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(
    ("kind", "case"), [one for one in bare_cases("bench", BARE_PV_GUESTS) if one[1] != ONE_CPU]
)
def test_bare(bare, kind, case):
    result = bare(kind, suite="bench", deterministic=True).case(case)
    assert result.ok, "; ".join(result.diagnostics)


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize("kind", BARE_PV_GUESTS)
def test_switch(bare, kind):
    """The switch of a domain with all 2-level ports open, on a machine with one CPU."""
    result = bare(kind, suite="bench", test=ONE_CPU, deterministic=True, vcpus=1).case(ONE_CPU)
    assert result.ok, "; ".join(result.diagnostics)
