# SPDX-License-Identifier: GPL-2.0-or-later
"""XTF's own tests, from the checkout that ``evh run --xtf PATH`` names.

Each must do as well as on Xen without the series.
"""

from __future__ import annotations

import pytest

from harness.core.records import XEN_BASE


@pytest.mark.needs(XEN_BASE)
@pytest.mark.cell(abi="2l")
def test_xtf(xtf, xtf_test):
    xtf(xtf_test)
