# SPDX-License-Identifier: GPL-2.0-or-later
"""Cost of operations, in each ABI in turn (``images/bare/tests/bench.c``); the result is the metrics."""

from __future__ import annotations

import pytest

from harness.plan.guests import BARE_PV_GUESTS
from harness.run.cases import bare_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("bench", BARE_PV_GUESTS))
def test_bare(bare, kind, case):
    result = bare(kind, suite="bench", deterministic=True).case(case)
    assert result.ok, "; ".join(result.diagnostics)
