# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux series' KUnit tests, run without Xen: where a port's bits are, and how they are scanned."""

from __future__ import annotations

import pytest

from harness.run.cases import kunit_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("guest", "case"), kunit_cases())
def test_kunit(kunit, guest, case):
    result = kunit(guest).case(case)
    assert result.ok, "; ".join(result.diagnostics) or "no diagnostics: see the console"
