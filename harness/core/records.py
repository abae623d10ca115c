# SPDX-License-Identifier: GPL-2.0-or-later
"""What travels between the rooms: small frozen records, no behaviour.

Everything here is plain data, so that each step can be called alone and its
result written to ``run.json``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.core.errors import UserError

# Components, which are built only where a selected test needs them: Linux with the images that it needs; a
# dom0 that has a device model; a Xen that has the ABI configured out.
LINUX = "linux"
HVM = "hvm"
WITHOUT_3L = "xen-without-3l"


class Verdict(enum.StrEnum):
    """How a cell ended (docs/verdicts.md). The order is worst last."""

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
        version: upstream version as resolved, e.g. ``6.12.107``.
        origin: ``apt:<suite>:<package version>``, a URL, or ``tree:<path>``.
        sha256: of the tarball; empty for a developer's own tree.
        tarball: the verified tarball in the store; None for an own tree.
        tree: a developer's own tree; None for a tarball.
        note: why it is not the first choice, where it is not.
    """

    name: str
    version: str
    origin: str
    sha256: str = ""
    tarball: Path | None = None
    tree: Path | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A source tree with its series applied as commits on a detached HEAD.

    Attributes:
        source: what it was made from.
        path: the work tree.
        series: subjects of the applied patches, in order.
        digest: hash of source and series; the build's cache key starts here.
    """

    source: Source
    path: Path
    series: tuple[str, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class GuestImage:
    """What a guest boots that dom0's image does not hold.

    Attributes:
        kernel: what xl takes as a kernel.
        initrd: its user space; None where the kernel holds it.
        args: what the kernel has to be told.
        vmlinux: the kernel's symbols; leads nowhere where there are none.
    """

    kernel: Path
    initrd: Path | None = None
    vmlinux: Path = Path()
    args: str = ""


@dataclass(frozen=True, kw_only=True)
class Built:
    """Everything a machine needs to boot, out of the store.

    Attributes:
        xen: 32-bit multiboot ELF hypervisor (``zcat xen.gz``), for QEMU.
        xen_syms: its symbols.
        kernel: x86-64 bzImage; serves PV dom0, PV and PVH domU.
        vmlinux: its symbols.
        dom0_image: ext4 root of dom0, pristine: attach with a throw-away
            overlay, never write to it.
        guest_initrd: gzip'ed cpio, the whole user space of a Linux guest.
        tools: directory of static in-guest programs (also inside both roots).
        bare: directory of bare guests, ``bare-pv64`` and so on.
        dom0_images: other roots of dom0, by the component that they are.
        xens: other builds of Xen, likewise.
        images: of the components that were asked for, e.g. ``i386``.
        ssh_key: private key that dom0 and every guest accept for root.
        host_key: public host key of dom0 and of every guest (the only one
            that is accepted).
        keys: store key of each artifact by name, for ``run.json``.
        hits: by the same names, whether it was in the store already.
        sources: what ``xen`` and ``linux`` were resolved to.
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


def dom0_root(built: Built, component: str) -> Path:
    """The root that dom0 has.

    Raises:
        UserError: it was not built, since nobody said that it is needed.
    """
    return _component(built.dom0_images, component) if component else built.dom0_image


def xen_of(built: Built, component: str) -> Path:
    """The Xen that a machine boots.

    Raises:
        UserError: it was not built, since nobody said that it is needed.
    """
    return _component(built.xens, component) if component else built.xen


def image_of(built: Built, component: str) -> GuestImage:
    """What was built of a component.

    Raises:
        UserError: nothing was, since nobody said that it is needed.
    """
    return _component(built.images, component)


T = TypeVar("T")


def _component(components: Mapping[str, T], component: str) -> T:
    if component not in components:
        raise UserError(
            f"the component {component!r} was not built", hint=f"mark the test with @pytest.mark.needs({component!r})"
        )
    return components[component]


class Abi(enum.StrEnum):
    """Event-channel ABI that a Linux guest is told to use."""

    L2 = "2l"
    FIFO = "fifo"
    L3 = "3l"

    @property
    def kernel_args(self) -> str:
        """Kernel parameters that choose this ABI (guest-patches/6.12)."""
        return {
            Abi.L2: "xen.fifo_events=0",
            Abi.FIFO: "xen.fifo_events=1",
            Abi.L3: "xen.3l_events=1",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """Which QEMU accelerator, and why; always the first line of output.

    Attributes:
        kind: ``kvm`` or ``tcg``.
        reason: one line for a person, starting with the kind in capitals.
        proven: False where only a trial boot can tell (machine.py does it).
    """

    kind: str
    reason: str
    proven: bool = True


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A machine to boot.

    Attributes:
        abi: the ABI dom0 is told to use.
        memory_mib: RAM of the QEMU machine.
        dom0_mib: RAM of dom0 out of it.
        vcpus: vCPUs of the machine (and of dom0).
        xen_args, dom0_args: extra command-line arguments.
        dom0_image: a component whose root dom0 has, e.g. ``hvm``; empty: the plain one.
        dom0_kernel: a component to take dom0's kernel from, e.g. ``stock-dom0``; empty: ours.
        xen: a component to take Xen from, ``xen-without-3l``; empty: ours.
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
    """A Linux guest to start by xl.

    Attributes:
        kind: a key of ``KINDS``.
        abi: what its kernel is told to use; None: nothing, its own default.
        max_event_channels: xl's ``max_event_channels``; None leaves xl's
            default of 1023.
        kernel: a component to take its kernel and user space from, e.g. ``stock``; empty: its kind's.
        disk: xl's specification of one; empty: it has none.
        on_reboot: xl's word for what follows a reboot: ``destroy`` or ``restart``.
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

