# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of guest, one row each: how xl starts it and which components it needs.

To add a kind of Linux guest, add a row to ``KINDS``; the components that it
names are defined in harness/build/components.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.records import HVM, LINUX


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How xl starts a kind of Linux guest.

    Attributes:
        type: xl's ``type``.
        component: the component that it needs besides the plain Linux; empty: none.
        dom0: the component that must provide dom0's root file system; empty: any root will do.
        wide: 64-bit.
    """

    type: str
    component: str = ""
    dom0: str = ""
    wide: bool = True

    @property
    def components(self) -> frozenset[str]:
        """All components that this kind needs."""
        return frozenset({LINUX, *filter(None, (self.component, self.dom0))})


KINDS = {
    "pv64": Kind(type="pv"),
    "pvh64": Kind(type="pvh"),
    "hvm64": Kind(type="hvm", dom0=HVM),
    "pvh32": Kind(type="pvh", component="i386", wide=False),
    "hvm32": Kind(type="hvm", component="i386-hvm", dom0=HVM, wide=False),
}

LINUX_GUESTS = tuple(KINDS)
# This project's own small kernels (images/bare): the PV ones run as dom0, the PVH ones as domUs that
# bare-pv64 builds.
BARE_PV_GUESTS = ("bare-pv64", "bare-pv32")
BARE_PVH_GUESTS = ("bare-pvh64", "bare-pvh32")
BARE_GUESTS = BARE_PV_GUESTS + BARE_PVH_GUESTS
# Linux kernels that run the series' KUnit tests, without Xen.
KUNIT_KERNELS = ("kunit64", "kunit32")
GUESTS = ("dom0", *LINUX_GUESTS, *BARE_GUESTS, *KUNIT_KERNELS)
