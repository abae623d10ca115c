# SPDX-License-Identifier: GPL-2.0-or-later
"""The flavours, one row each: other ways to configure Xen or Linux.

A new flavour is a row here, and a folder ``config/NAME`` of Kconfig fragments
in the base that it is of.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan.guests import GUESTS, KUNIT_KERNELS


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One flavour.

    Attributes:
        guests: cells of other guests are left out: they would repeat the release's.
        guests_only: dom0 cannot boot this kernel and keeps the release's.
        gcov: Xen counts which lines ran.
        kmemleak: Linux can be asked for leaked memory.
    """

    guests: tuple[str, ...] = GUESTS
    guests_only: bool = False
    gcov: bool = False
    kmemleak: bool = False


RELEASE = "release"
FLAVOURS = {
    RELEASE: Flavour(),
    # Of Xen:
    "debug": Flavour(),
    "ubsan": Flavour(),
    "coverage": Flavour(gcov=True),
    # Of Linux:
    "linux-debug": Flavour(guests=("dom0", "pv64", "pvh64", "hvm64", *KUNIT_KERNELS), kmemleak=True),
    # PV and PVH kernels run instrumented code before KASAN's shadow is mapped; 32-bit x86 has no KASAN.
    "linux-kasan": Flavour(guests=("hvm64", "kunit64"), guests_only=True),
}
