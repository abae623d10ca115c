# SPDX-License-Identifier: GPL-2.0-or-later
"""The component ``i386``: 32-bit Linux and its user space, built only for the cells that need them.

A 32-bit program cannot use a 64-bit kernel's /dev/xen/evtchn (no
compat_ioctl), so the in-guest tools are built for 32 bits as well.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.build import images, pvh_elf, tools
from harness.build.recipes import recipe_of
from harness.core import process

if TYPE_CHECKING:
    from harness.build.builder import Builder
    from harness.store.artifacts import Artifact, Inputs

COMPONENT = "i386"
HVM_COMPONENT = "i386-hvm"  # made together with COMPONENT
# A cross compiler, not gcc -m32: Debian's gcc-multilib conflicts with other cross compilers.
COMPILER = "i686-linux-gnu-gcc"
# Debian's i386 port has no kernel, but it has the programs that a guest needs.
PACKAGES = ("busybox-static", "dropbear-bin")
# The tools that work in a domU. Its kernel copies the whole initramfs once, which takes a second per
# MiB under emulation with shadow paging, so the others are left out.
TOOLS = ("evtchn-churn", "evtchn-dev", "evtchn-files", "evtchn-load")
# Artifact and file of each field of GuestImage, as in built.PLACES.
PLACES = {"kernel": ("guest-i386", "guest.elf.gz"), "vmlinux": ("linux-i386", "vmlinux")}
# For an HVM guest, QEMU loads kernel and initramfs as separate files.
HVM_PLACES = {**PLACES, "kernel": ("linux-i386", "bzImage"), "initrd": ("guest-i386", "guest.cpio.gz")}
ARGS = pvh_elf.ARGS


def make(builder: Builder) -> None:
    """Build kernel, programs, tools and initramfs, unless the store has them.

    Raises:
        UserError, InfraError: as for graph.build.
    """
    rootfs, keys = builder.artifacts["rootfs"], builder.artifacts["keys"]  # dropbear converts the host key
    name = "linux-i386"
    builder.wanted[name] = replace(builder.wanted["linux"], flavour=COMPONENT, arch=COMPONENT)
    kernel = builder.kernel(name, builder.sources["linux"])
    programs = _programs(builder)
    tools = _tools(builder)

    def inputs() -> Inputs:
        return builder.common(programs, keys, tools, kernel) | {
            "images/guest": images.hash_tree(builder.images / "guest"),
            "kernel": kernel.files["vmlinux"],
            "join": recipe_of(pvh_elf),
        }

    def make_guest(dest: Path) -> None:
        with builder.progress.step("make the 32-bit guests' initramfs"):
            images.make_guest(
                dest,
                rootfs=rootfs.path / "rootfs.tar", keys=keys.path, tools=tools.path,
                images=builder.images / "guest", programs=programs.path / "rootfs.tar",
            )  # fmt: skip
            initrd = (dest / "guest.cpio.gz").read_bytes()
            stripped = dest / "vmlinux.stripped"
            objcopy = process.need("objcopy", package="binutils")
            process.run([objcopy, "-S", kernel.path / "vmlinux", stripped], what="strip the 32-bit kernel")
            elf = gzip.compress(pvh_elf.join(stripped.read_bytes(), initrd), compresslevel=4, mtime=0)
            (dest / "guest.elf.gz").write_bytes(elf)
            stripped.unlink()

    builder.get("guest-i386", inputs, make_guest)


def _programs(builder: Builder) -> Artifact:
    inputs = {"packages": " ".join(PACKAGES), "suite": images.SUITE, "arch": COMPONENT}

    def make(dest: Path) -> None:
        with builder.progress.step("get the 32-bit guests' packages (mmdebstrap)"):
            # Unpacked but not configured: none of these programs run on the host.
            images.make_rootfs(
                dest, include=PACKAGES, log=dest / "build.log", variant="extract", arch=COMPONENT
            )

    return builder.get("programs-i386", inputs, make)


def _tools(builder: Builder) -> Artifact:
    folder = builder.images / "tools"

    def inputs() -> Inputs:
        return tools.inputs_of(folder) | {
            "compiler": tools.compiler_of(COMPILER),
            "only": " ".join(TOOLS),
        }

    def make(dest: Path) -> None:
        with builder.progress.step("build the 32-bit in-guest tools"):
            tools.build_tools(folder, dest, compiler=COMPILER, only=TOOLS)

    return builder.get("tools-i386", inputs, make)
