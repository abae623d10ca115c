# SPDX-License-Identifier: GPL-2.0-or-later
"""Ids of cells: written, and read back."""

from __future__ import annotations

import pytest

from harness.core.errors import UserError
from harness.plan.cells import EXAMPLE_CELL, Cell


@pytest.mark.parametrize(
    "cell",
    [
        EXAMPLE_CELL,
        Cell(base="b", guest="dom0", abi="2l", suite="my", test="test_a[pv64-x/y]", seed=7),
        Cell(
            base="xen-4.20+linux-6.12",
            flavour="debug",
            guest="pvh64",
            abi="fifo",
            suite="limits",
            test="test_a[a::b]",
        ),
    ],
)
def test_cell_id_reads_back(cell: Cell) -> None:
    assert Cell.parse(cell.id) == cell


@pytest.mark.parametrize(
    "text",
    ["", "x", "a/b/c/d/e/1", "a/b/c/d/s::t/x", "a/b//d/s::t/1", EXAMPLE_CELL.id.rpartition("/")[0]],
)
def test_word_that_is_no_cell_id_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a cell id"):
        Cell.parse(text)
