# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain frozen records that are passed between the packages.

They hold data only, so that each step can be called alone and its result
written to ``run.json``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.core.errors import UserError

# Components, built only if a selected test needs them: Linux with its images; a dom0 root with a device
# model; a Xen with the 3l ABI configured out; the pristine Xen of the base, without the series.
LINUX = "linux"
HVM = "hvm"
WITHOUT_3L = "xen-without-3l"
XEN_BASE = "xen-base"

# Abilities that a Xen or a Linux may lack, and then its tests are skipped (build/abilities.py): the 3-level
# ABI, 32-bit PV guests and shadow paging in Xen; in Linux the 3-level ABI, and the files in debugfs
# that only the series adds, xen/events and xen_evtchn_test.
XEN_3L = "xen-3l"
PV32 = "xen-pv32"
SHADOW = "xen-shadow"
LINUX_3L = "linux-3l"
LINUX_EVENTS = "linux-events"
LINUX_TEST = "linux-evtchn-test"
ABILITIES = (XEN_3L, PV32, SHADOW, LINUX_3L, LINUX_EVENTS, LINUX_TEST)


class Verdict(enum.StrEnum):
    """How a cell ended (docs/verdicts.md), in order of severity, worst last."""

    PASS = "pass"
    SKIP = "skip"
    FAIL = "fail"
    HANG = "hang"
    CRASH = "crash"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A pristine source tree and where it came from.

    Attributes:
        name: ``xen`` or ``linux``.
        version: the resolved upstream version, e.g. ``6.12.107``.
        origin: ``apt:<suite>:<package version>``, a URL, or ``tree:<path>``.
        sha256: of the tarball; empty for a developer's own tree.
        tarball: the verified tarball in the store; None for a developer's tree.
        tree: a developer's own tree; None if there is a tarball.
        note: why an earlier choice was not used; empty if this is the first choice.
    """

    name: str
    version: str
    origin: str
    sha256: str = ""
    tarball: Path | None = None
    tree: Path | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Which Xen and which Linux to build, and how.

    Attributes:
        xen, linux: names of bases, e.g. ``4.20``; empty: the one that fits the tree, or the default.
        xen_tree, linux_tree: developers' own trees, built as they are; None: the pristine source of the base.
        stock: build without the series.
        with_series: apply the series of the base to the own trees, too.
        xen_config, linux_config: Kconfig fragments in addition to those of the base.
    """

    xen: str = ""
    linux: str = ""
    xen_tree: Path | None = None
    linux_tree: Path | None = None
    stock: bool = False
    with_series: bool = False
    xen_config: tuple[Path, ...] = ()
    linux_config: tuple[Path, ...] = ()

    def base(self, component: str) -> str:
        """The name of the base that was given for ``xen`` or ``linux``; empty: none."""
        return {"xen": self.xen, "linux": self.linux}[component]

    def tree(self, component: str) -> Path | None:
        """The own tree of ``xen`` or ``linux``."""
        return {"xen": self.xen_tree, "linux": self.linux_tree}[component]

    def config(self, component: str) -> tuple[Path, ...]:
        """The additional fragments of ``xen`` or ``linux``."""
        return {"xen": self.xen_config, "linux": self.linux_config}[component]


# The default pair, with its series.
DEFAULT_TREES = Trees()


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A Kconfig symbol that a fragment wants, and that a tree cannot have.

    Attributes:
        symbol, value: what was wanted.
        place: the ``file:line`` that wants it.
        why: what the tree has instead.
    """

    symbol: str
    value: str
    place: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A source tree with its series applied as commits on a detached HEAD.

    Attributes:
        source: the pristine source.
        path: the work tree.
        series: subjects of the applied patches, in order.
        digest: hash of source and series.
        pristine: hash of the source alone, as it is in this tree: an input of the build's store key.
    """

    source: Source
    path: Path
    series: tuple[str, ...]
    digest: str
    pristine: str = ""


@dataclass(frozen=True, kw_only=True)
class GuestImage:
    """Guest kernel and user space that are not part of dom0's image.

    Attributes:
        kernel: the file given to xl as ``kernel``.
        initrd: the user space; None if it is part of the kernel file.
        args: kernel parameters that this image needs.
        vmlinux: the kernel with symbols; an empty path if there is none.
    """

    kernel: Path
    initrd: Path | None = None
    vmlinux: Path = Path()
    args: str = ""


@dataclass(frozen=True, kw_only=True)
class Built:
    """Paths, in the store, of everything that a machine boots.

    Attributes:
        xen: 32-bit multiboot ELF hypervisor (``zcat xen.gz``), for QEMU.
        xen_syms: its symbols.
        kernel: x86-64 bzImage; serves PV dom0, PV and PVH domU.
        vmlinux: its symbols.
        dom0_image: dom0's pristine ext4 root; attach it with a throw-away
            overlay, never write to it.
        guest_initrd: gzip'ed cpio, the whole user space of a Linux guest.
        tools: directory of static in-guest programs (both roots contain them too).
        bare: directory of bare guests, ``bare-pv64`` and so on.
        dom0_images: other dom0 roots, by component.
        xens: other builds of Xen, by component.
        images: guest images of the requested components, e.g. ``i386``.
        ssh_key: private key that dom0 and every guest accept for root.
        host_key: public host key of dom0 and every guest; no other is accepted.
        keys: store key of each artifact by kind, for ``run.json``.
        hits: for the same kinds, whether the store already had the artifact.
        sources: the resolved sources of ``xen`` and ``linux``.
        toolstack: which xl and which daemons dom0 has, e.g. ``Debian's xen-utils-4.20 4.20.4-1``.
        wishes: for each kernel, by kind, what its fragments want and its tree does not have.
        lacks: for each of ``ABILITIES`` that Xen or Linux does not have, why.
    """

    xen: Path
    xen_syms: Path
    kernel: Path
    vmlinux: Path
    dom0_image: Path
    guest_initrd: Path
    tools: Path
    ssh_key: Path
    host_key: Path = Path()
    bare: Path = Path()
    dom0_images: dict[str, Path] = field(default_factory=dict)
    xens: dict[str, Path] = field(default_factory=dict)
    images: dict[str, GuestImage] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    hits: dict[str, bool] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    toolstack: str = ""
    wishes: dict[str, tuple[Wish, ...]] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)


def dom0_root(built: Built, component: str) -> Path:
    """The root file system for dom0: that of ``component``, or the plain one if it is empty.

    Raises:
        UserError: the component was not built: no selected test needs it.
    """
    return _component(built.dom0_images, component) if component else built.dom0_image


def xen_of(built: Built, component: str) -> Path:
    """The hypervisor to boot: that of ``component``, or the plain one if it is empty.

    Raises:
        UserError: the component was not built: no selected test needs it.
    """
    return _component(built.xens, component) if component else built.xen


def image_of(built: Built, component: str) -> GuestImage:
    """The guest image of a component.

    Raises:
        UserError: the component was not built: no selected test needs it.
    """
    return _component(built.images, component)


T = TypeVar("T")


def _component(components: Mapping[str, T], component: str) -> T:
    if component not in components:
        raise UserError(
            f"the component {component!r} was not built: no selected test needs it",
            hint=f"mark the test with @pytest.mark.needs({component!r})",
        )
    return components[component]


class Abi(enum.StrEnum):
    """Event channel ABI that a Linux kernel is told to use."""

    L2 = "2l"
    FIFO = "fifo"
    L3 = "3l"

    @property
    def kernel_args(self) -> str:
        """Kernel parameters that select this ABI (guest-patches/6.12)."""
        return {
            Abi.L2: "xen.fifo_events=0",
            Abi.FIFO: "xen.fifo_events=1",
            Abi.L3: "xen.3l_events=1",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """The chosen QEMU accelerator and the reason, which is always the first line of output.

    Attributes:
        kind: ``kvm`` or ``tcg``.
        reason: one line for the user, starting with the kind in capitals.
        proven: False if only a trial boot (harness/machine/kvm_proof.py) can tell whether it works.
    """

    kind: str
    reason: str
    proven: bool = True

    @property
    def line(self) -> str:
        """What the user is told."""
        return f"accelerator: {self.reason}" + ("" if self.proven else "; a trial boot has yet to prove it")


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A machine to boot.

    Attributes:
        abi: the ABI that dom0 is told to use.
        memory_mib: RAM of the QEMU machine.
        dom0_mib: how much of it dom0 gets.
        vcpus: vCPUs of the machine (and of dom0).
        xen_args, dom0_args: extra command-line arguments.
        dom0_image: the component that provides dom0's root, e.g. ``hvm``; empty: the plain one.
        dom0_kernel: the component that provides dom0's kernel, e.g. ``stock-dom0``; empty: the plain one.
        xen: the component that provides Xen, e.g. ``xen-without-3l``; empty: the plain one.
    """

    abi: Abi = Abi.L3
    memory_mib: int = 4096
    dom0_mib: int = 2048
    vcpus: int = 2
    xen_args: str = ""
    dom0_args: str = ""
    dom0_image: str = ""
    dom0_kernel: str = ""
    xen: str = ""


@dataclass(frozen=True, kw_only=True)
class GuestSpec:
    """A Linux guest to start with xl.

    Attributes:
        kind: a key of ``KINDS``.
        abi: the ABI that its kernel is told to use; None: the kernel's default.
        max_event_channels: xl's ``max_event_channels``; None: xl's default of 1023.
        kernel: the component that provides kernel and user space, e.g. ``stock``; empty: those of its kind.
        disk: an xl disk specification; empty: no disk.
        on_reboot: xl's ``on_reboot``: ``destroy`` or ``restart``.
        network: whether it has a network card; without one there is no SSH, and only its console tells of it.
    """

    name: str
    kind: str
    abi: Abi | None = Abi.L3
    memory_mib: int = 256
    vcpus: int = 2
    max_event_channels: int | None = None
    extra_args: str = ""
    kernel: str = ""
    disk: str = ""
    on_reboot: str = "destroy"
    network: bool = True

