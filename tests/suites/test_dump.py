# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's debug key 'e' with every port open and events in flight (``images/bare/tests/dump.c``)."""

from __future__ import annotations

import pytest

from harness.plan.guests import BARE_PV_GUESTS
from harness.run.cases import bare_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("dump", BARE_PV_GUESTS))
def test_bare(bare, kind, case):
    result = bare(
        kind, suite="dump", deterministic=True, vcpus=4, xen_args="crash-debug-debugkey=e crashkernel=32M"
    ).case(case)
    assert result.ok, "; ".join(result.diagnostics)
