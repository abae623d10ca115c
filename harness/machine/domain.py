# SPDX-License-Identifier: GPL-2.0-or-later
"""The libvirt domain XML of a machine: QEMU with Xen and dom0."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import jinja2

from harness.core.errors import UserError
from harness.core.records import Accelerator, MachineSpec

NET_ALIAS = "ua-net0"


def render_domain(
    *,
    name: str,
    spec: MachineSpec,
    accelerator: Accelerator,
    xen: str,
    kernel: str,
    initrd: str = "",
    disk: str,
    serial: str,
    emulator: str = "",
    secmodels: Sequence[str] = (),
    incoming: bool = False,
) -> str:
    """The libvirt domain XML of a machine.

    Args:
        name: of the domain.
        xen, kernel, initrd, disk, serial: paths. The first three must not contain
            spaces (QEMU splits the module string at the first one) or commas
            (QEMU splits its list of modules at commas).
        emulator: QEMU's program; empty: libvirt chooses it.
        secmodels: security models of libvirt's daemon; each is told to run QEMU
            as the calling user and to relabel no file.
        incoming: QEMU waits until it is told to read a saved machine.
    Raises: UserError: a path contains a space or a comma.
    """
    for path in (xen, kernel, initrd):
        if set(path) & set(" ,"):
            raise UserError(f"cannot boot from a path with a space or a comma: {path}")
    module = f"{kernel} {dom0_arguments(spec)}"
    return _templates().get_template("domain.xml.j2").render(
        name=name,
        cpus=cpus(spec, accelerator),
        spec=spec,
        accelerator=accelerator,
        xen=xen,
        # A comma separates modules; a doubled one is a literal comma (hw/i386/multiboot.c).
        module=module.replace(",", ",,") + (f",{initrd}" if initrd else ""),
        xen_args=xen_arguments(spec),
        disk=disk,
        serial=serial,
        net_alias=NET_ALIAS,
        emulator=emulator,
        secmodels=secmodels,
        incoming=incoming,
        uid=os.getuid(),
        gid=os.getgid(),
    )


def cpus(spec: MachineSpec, accelerator: Accelerator) -> int:
    """Number of the machine's CPUs.

    An emulated machine has one more than dom0 has vCPUs: HVM and PVH guests avoid the first
    (guest/xlconfig.py).
    """
    return spec.vcpus + (accelerator.kind == "tcg")


def xen_arguments(spec: MachineSpec) -> str:
    """Xen's command line.

    `evtchn-3l=domu`: the toolstack is Debian's, which does not know the flag that allows
    a guest the 3-level ABI. `noreboot` keeps Xen from rebooting after a panic.
    `bootscrub=0`: QEMU's memory is zero already, and scrubbing would make the host
    allocate all of it. The spec's words come last, so that they take precedence.
    """
    words = [
        "console=com1",
        f"dom0_mem={spec.dom0_mib}M,max:{spec.dom0_mib}M",
        f"dom0_max_vcpus={spec.vcpus}",
        "loglvl=all guest_loglvl=all conring_size=256k bootscrub=0",
        "evtchn-3l=domu",
        "noreboot",
        spec.xen_args,
    ]
    return " ".join(word for word in words if word)


def dom0_arguments(spec: MachineSpec) -> str:
    """Dom0's kernel command line."""
    words = ["console=hvc0 root=/dev/vda rw panic=-1", spec.abi.kernel_args, spec.dom0_args]
    return " ".join(word for word in words if word)


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.machine"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
