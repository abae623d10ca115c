# SPDX-License-Identifier: GPL-2.0-or-later
"""What is built besides the plain Linux, for the guests that need it (docs/building.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from harness.build import i386, stock
from harness.build.builder import Builder, kind
from harness.core.records import HVM, LINUX, WITHOUT_3L


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component.

    Attributes:
        kinds: of the artifacts that it consists of, beside those in ``image``.
        make: makes them, or finds them in the store, once the plain images are there; None where
            graph.py does it itself.
        image: of a guest: artifact and file of each field of ``GuestImage``.
        args: for that guest's kernel.
        dom0: the artifact that is a root of dom0.
        xen: the artifact that is a hypervisor.
    """

    make: Callable[[Builder], None] | None = None
    kinds: tuple[str, ...] = ()
    image: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    args: str = ""
    dom0: str = ""
    xen: str = ""

    def whole(self, kinds: Collection[str]) -> bool:
        """Whether artifacts of these kinds contain all of it."""
        wanted = {*self.kinds, *(kind for kind, _ in self.image.values()), *filter(None, (self.dom0, self.xen))}
        return wanted <= set(kinds)


def _make_hvm(builder: Builder) -> None:
    builder.rootfs(component=HVM)
    builder.dom0(component=HVM)


def _make_without_3l(builder: Builder) -> None:
    builder.wanted[WITHOUT_3L] = replace(builder.wanted["xen"], flavour="without-3l")
    builder.kernel(WITHOUT_3L, builder.sources["xen"])


# In the order in which they are made.
COMPONENTS = {
    LINUX: Component(kinds=("linux",)),
    HVM: Component(make=_make_hvm, dom0=kind("dom0", HVM)),
    WITHOUT_3L: Component(make=_make_without_3l, xen=WITHOUT_3L),
    i386.COMPONENT: Component(make=i386.make, image=i386.PLACES, args=i386.ARGS),
    i386.HVM_COMPONENT: Component(make=i386.make, image=i386.HVM_PLACES),
    stock.COMPONENT: Component(make=stock.make, image=stock.PLACES),
    stock.DOM0_COMPONENT: Component(make=stock.make, image=stock.DOM0_PLACES),
}


def components_in(kinds: Collection[str]) -> frozenset[str]:
    """The components that artifacts of these kinds make up."""
    return frozenset(name for name, component in COMPONENTS.items() if component.whole(kinds))
