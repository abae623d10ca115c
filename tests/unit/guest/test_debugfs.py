# SPDX-License-Identifier: GPL-2.0-or-later
"""Parsing of the kernel's debugfs file ``xen/events``."""

from __future__ import annotations

import pytest

from harness.core.errors import InfraError
from harness.core.records import Abi
from harness.guest import debugfs

L3 = """\
ABI: 3-level
limit: 524288
usable: 524288
bound: 57
bound to CPU 0: 31
bound to CPU 1: 26
IRQs to be freed: 3
pages of pending and mask bits: 32
pages of a CPU's bitmap: 1
"""
FIFO = "ABI: FIFO-based\nlimit: 131072\nusable: 4096\nbound: 5\nbound to CPU 0: 5\nIRQs to be freed: 0\n"


def test_three_levels() -> None:
    view = debugfs.parse(L3, where="dom0")
    assert (view.abi, view.limit, view.usable, view.bound) == (Abi.L3, 524_288, 524_288, 57)
    assert view.per_cpu == {0: 31, 1: 26}
    assert (view.to_free, view.shared_pages, view.bitmap_pages) == (3, 32, 1)


def test_others_have_no_pages() -> None:
    view = debugfs.parse(FIFO, where="dom0")
    assert (view.abi, view.usable, view.shared_pages, view.bitmap_pages) == (Abi.FIFO, 4_096, None, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ABI: 3-level\n", ""),
        ("3-level", "4-level"),
        ("usable: 524288", "usable: many"),
        ("pages of a CPU's bitmap: 1\n", ""),
    ],
)
def test_what_is_missing_or_strange_is_told(old: str, new: str) -> None:
    with pytest.raises(InfraError, match=r"pv64: /sys/.*xen/events"):
        debugfs.parse(L3.replace(old, new), where="pv64")
