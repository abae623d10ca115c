# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's side of the ABI, by a bare guest booted as Xen's dom0.

The tests themselves are the functions in ``images/bare/conformance.c``; all of
them run in one boot, and each has its result here.
"""

from __future__ import annotations

import pytest

from harness import ktap, plan

SOURCE = plan.suites_dir().parents[1] / "images" / "bare" / "conformance.c"


@pytest.mark.cell(guest="bare-pv64", abi="3l")
@pytest.mark.parametrize("case", ktap.cases_in(SOURCE.read_text()))
def test_bare(bare, case):
    result = bare("bare-pv64").case(case)
    assert result.ok, "; ".join(result.diagnostics)
