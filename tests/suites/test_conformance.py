# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's side of the ABI, by bare guests: two as Xen's dom0, two as domUs.

The tests themselves are the functions in ``images/bare/tests/conformance.c``; all of
them run in one boot of each kind, and each has its result here.
"""

from __future__ import annotations

import pytest

from harness.run.cases import bare_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("conformance"))
def test_bare(bare, kind, case):
    # Opening 524,287 ports in a 64-bit HVM guest takes half a minute where that is emulated.
    result = bare(kind, suite="conformance", deadline=180.0).case(case)
    assert result.ok, "; ".join(result.diagnostics)
