# SPDX-License-Identifier: GPL-2.0-or-later
"""Which guests a flavour is for."""

from __future__ import annotations

import pytest

from harness.plan.cells import Cell
from harness.plan.selection import select


@pytest.mark.parametrize(
    ("flavour", "kept"),
    [
        ("release", {"dom0", "pv64", "pvh32", "bare-pv64", "kunit32"}),
        ("ubsan", {"dom0", "pv64", "pvh32", "bare-pv64", "kunit32"}),
        ("linux-debug", {"dom0", "pv64", "kunit32"}),
        ("linux-kasan", set()),
    ],
)
def test_a_flavour_of_linux_is_not_everywhere(flavour: str, kept: set[str]) -> None:
    chosen = select(suites=["smoke"], flavour=flavour)
    cells = [
        Cell(base="b", flavour=flavour, guest=guest, abi="3l", suite="smoke", test="t")
        for guest in ("dom0", "pv64", "pvh32", "bare-pv64", "kunit32")
    ]
    assert {cell.guest for cell in cells if chosen.keeps(cell)} == kept
