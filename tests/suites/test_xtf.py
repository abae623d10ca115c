# SPDX-License-Identifier: GPL-2.0-or-later
"""XTF's own tests, built from the checkout that ``evh run --xtf PATH`` names."""

from __future__ import annotations

import pytest


@pytest.mark.cell(abi="2l")
def test_xtf(xtf, xtf_test):
    xtf(xtf_test)
