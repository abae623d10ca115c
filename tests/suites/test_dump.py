# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's debug key 'e' with every port open and events flying (``images/bare/dump.c``)."""

from __future__ import annotations

import pytest

from harness.barecases import PV_GUESTS, cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), cases("dump", PV_GUESTS))
def test_bare(bare, kind, case):
    result = bare(kind, suite="dump", deterministic=True, vcpus=4).case(case)
    assert result.ok, "; ".join(result.diagnostics)
