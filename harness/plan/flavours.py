# SPDX-License-Identifier: GPL-2.0-or-later
"""The flavours: alternative configurations of Xen or Linux, one row each.

To add one, add a row here and a folder ``config/NAME`` of Kconfig fragments
to the base that it configures.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan.guests import GUESTS, KUNIT_KERNELS


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One flavour.

    Attributes:
        guests: cells of other guests are left out, since they would repeat those of the release.
        guests_only: dom0 cannot boot this kernel and keeps the release kernel.
        gcov: Xen counts the lines that ran.
        kmemleak: Linux can report leaked memory.
    """

    guests: tuple[str, ...] = GUESTS
    guests_only: bool = False
    gcov: bool = False
    kmemleak: bool = False


RELEASE = "release"
FLAVOURS = {
    RELEASE: Flavour(),
    # Xen:
    "debug": Flavour(),
    "ubsan": Flavour(),
    "coverage": Flavour(gcov=True),
    # Linux:
    "linux-debug": Flavour(guests=("dom0", "pv64", "pvh64", "hvm64", *KUNIT_KERNELS), kmemleak=True),
    # PV and PVH kernels run instrumented code before KASAN's shadow is mapped; 32-bit x86 has no KASAN.
    "linux-kasan": Flavour(guests=("hvm64", "kunit64"), guests_only=True),
}
