# SPDX-License-Identifier: GPL-2.0-or-later
"""The components: optional things to build, each for the cells that need it (docs/building.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from harness.build import i386, stock
from harness.build.builder import Builder, kind
from harness.build.recipes import source_of
from harness.core.records import HVM, LINUX, WITHOUT_3L, XEN_BASE


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component.

    Attributes:
        kinds: kinds of its artifacts, besides those named in ``image``, ``dom0`` and ``xen``.
        make: makes the artifacts, or finds them in the store, after the plain images; None if
            graph.py does so itself.
        image: for each field of ``GuestImage``: kind of the artifact, and file inside it.
        args: parameters for the kernel of that image.
        dom0: kind of the artifact that is a root for dom0; empty: none.
        xen: kind of the artifact that is a hypervisor; empty: none.
    """

    make: Callable[[Builder], None] | None = None
    kinds: tuple[str, ...] = ()
    image: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    args: str = ""
    dom0: str = ""
    xen: str = ""

    def whole(self, kinds: Collection[str]) -> bool:
        """Whether artifacts of these kinds make up the complete component."""
        image = (kind for kind, _ in self.image.values())
        wanted = {*self.kinds, *image, *filter(None, (self.dom0, self.xen))}
        return wanted <= set(kinds)

    @property
    def needs_linux(self) -> bool:
        """Whether it is made from, or boots with, the plain Linux: all but a hypervisor."""
        return not self.xen


def _make_hvm(builder: Builder) -> None:
    builder.rootfs(component=HVM)
    builder.dom0(component=HVM)


def _make_without_3l(builder: Builder) -> None:
    builder.wanted[WITHOUT_3L] = replace(builder.wanted["xen"], flavour="without-3l")
    builder.kernel(WITHOUT_3L, builder.sources["xen"])


def _make_xen_base(builder: Builder) -> None:
    ours = builder.wanted["xen"]
    builder.wanted[XEN_BASE] = replace(ours, tree=None, stock=True)
    source = builder.sources["xen"]
    if ours.tree is not None:
        source = source_of(builder.wanted[XEN_BASE], store=builder.store, progress=builder.progress)
        builder.sources[XEN_BASE] = replace(source, name=XEN_BASE)
    builder.kernel(XEN_BASE, source)


# In the order in which they are built.
COMPONENTS = {
    LINUX: Component(kinds=("linux",)),
    HVM: Component(make=_make_hvm, dom0=kind("dom0", HVM)),
    WITHOUT_3L: Component(make=_make_without_3l, xen=WITHOUT_3L),
    XEN_BASE: Component(make=_make_xen_base, xen=XEN_BASE),
    i386.COMPONENT: Component(make=i386.make, image=i386.PLACES, args=i386.ARGS),
    i386.HVM_COMPONENT: Component(make=i386.make, image=i386.HVM_PLACES),
    stock.COMPONENT: Component(make=stock.make, image=stock.PLACES),
    stock.DOM0_COMPONENT: Component(make=stock.make, image=stock.DOM0_PLACES),
}


def components_in(kinds: Collection[str]) -> frozenset[str]:
    """The components for which ``kinds`` has all artifacts."""
    return frozenset(name for name, component in COMPONENTS.items() if component.whole(kinds))
