# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare guests of different ABIs and widths, built and destroyed (``images/bare/tests/domains.c``)."""

from __future__ import annotations

import pytest

from harness.plan.guests import BARE_PV_GUESTS
from harness.run.cases import bare_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("domains", BARE_PV_GUESTS))
def test_bare(bare, kind, case):
    result = bare(kind, suite="domains", deterministic=True).case(case)
    assert result.ok, "; ".join(result.diagnostics)
