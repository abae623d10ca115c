# SPDX-License-Identifier: GPL-2.0-or-later
"""The component ``i386``: a 32-bit Linux and its user space, built only for the cells that want them.

A 32-bit program cannot use a 64-bit kernel's /dev/xen/evtchn (no
compat_ioctl), so the in-guest tools are built once more as well.
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
    from harness.store.artifacts import Artifact

COMPONENT = "i386"
HVM_COMPONENT = "i386-hvm"  # made with it
# Cross, not gcc -m32: Debian's gcc-multilib cannot be installed beside other cross compilers.
COMPILER = "i686-linux-gnu-gcc"
# Debian has 32-bit x86 without a kernel of its own, which is all that is needed.
PACKAGES = ("busybox-static", "dropbear-bin")
# Those that work in a domU. Its kernel copies the whole initramfs once, which takes a second
# for each MiB under emulation and shadow paging.
TOOLS = ("evtchn-churn", "evtchn-dev", "evtchn-files", "evtchn-load")
# Where an image's files are, as built.PLACES.
PLACES = {"kernel": ("guest-i386", "guest.elf.gz"), "vmlinux": ("linux-i386", "vmlinux")}
# A device model loads kernel and initramfs as they are.
HVM_PLACES = {**PLACES, "kernel": ("linux-i386", "bzImage"), "initrd": ("guest-i386", "guest.cpio.gz")}
ARGS = pvh_elf.ARGS


def make(builder: Builder) -> None:
    """Build kernel, programs, tools and initramfs, or find them in the store.

    Raises:
        UserError, InfraError: as graph.build.
    """
    rootfs, keys = builder.artifacts["rootfs"], builder.artifacts["keys"]  # dropbear converts the host key
    name = "linux-i386"
    builder.wanted[name] = replace(builder.wanted["linux"], flavour=COMPONENT, arch=COMPONENT)
    kernel = builder.kernel(name, builder.sources["linux"])
    programs = _programs(builder)
    tools = _tools(builder)
    inputs = builder.common(programs, keys, tools, kernel) | {
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
            # Unpacked, not configured: nothing of it runs here.
            images.make_rootfs(dest, include=PACKAGES, log=dest / "build.log", variant="extract", arch=COMPONENT)

    return builder.get("programs-i386", inputs, make)


def _tools(builder: Builder) -> Artifact:
    folder = builder.images / "tools"
    inputs = tools.inputs_of(folder) | {
        "compiler": tools.compiler_of(COMPILER),
        "only": " ".join(TOOLS),
    }

    def make(dest: Path) -> None:
        with builder.progress.step("build the 32-bit in-guest tools"):
            tools.build_tools(folder, dest, compiler=COMPILER, only=TOOLS)

    return builder.get("tools-i386", inputs, make)
