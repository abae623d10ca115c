# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of guest, one row each: how xl starts it, what has to be built for it.

A new kind of Linux guest is a row of ``KINDS``. The components that it names
are built by harness/build (``components.py`` lists them).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.records import HVM, LINUX


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How xl starts a kind of Linux guest.

    Attributes:
        type: xl's word for it.
        component: what has to be built for it besides the plain Linux; empty: nothing.
        dom0: the component whose root file system dom0 needs for it; empty: any.
        wide: 64-bit.
    """

    type: str
    component: str = ""
    dom0: str = ""
    wide: bool = True

    @property
    def components(self) -> frozenset[str]:
        """Everything that has to be built for it."""
        return frozenset({LINUX, *filter(None, (self.component, self.dom0))})


KINDS = {
    "pv64": Kind(type="pv"),
    "pvh64": Kind(type="pvh"),
    "hvm64": Kind(type="hvm", dom0=HVM),
    "pvh32": Kind(type="pvh", component="i386", wide=False),
    "hvm32": Kind(type="hvm", component="i386-hvm", dom0=HVM, wide=False),
}

LINUX_GUESTS = tuple(KINDS)
# Kernels of ours (images/bare): the PV ones run as dom0, the PVH ones as domUs that bare-pv64 builds.
BARE_PV_GUESTS = ("bare-pv64", "bare-pv32")
BARE_PVH_GUESTS = ("bare-pvh64", "bare-pvh32")
BARE_GUESTS = BARE_PV_GUESTS + BARE_PVH_GUESTS
# Kernels that run the Linux series' KUnit tests; no Xen runs below them.
KUNIT_KERNELS = ("kunit64", "kunit32")
GUESTS = ("dom0", *LINUX_GUESTS, *BARE_GUESTS, *KUNIT_KERNELS)
