# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's side of the ABI, tested by bare guests: two run as dom0, two as domUs.

The tests are functions in ``images/bare/tests/conformance.c``. One boot of each
kind runs all of them; each test here reports the result of one.
"""

from __future__ import annotations

import pytest

from harness.run.cases import bare_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("conformance"))
def test_bare(bare, kind, case):
    # Opening 524,287 ports in a 64-bit HVM guest takes half a minute under emulation.
    result = bare(kind, suite="conformance", deadline=180.0).case(case)
    assert result.ok, "; ".join(result.diagnostics)
