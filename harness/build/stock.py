# SPDX-License-Identifier: GPL-2.0-or-later
"""The component ``stock``: Debian's unmodified Linux, as a guest and as dom0 on the patched Xen.

Its drivers are modules, so each of the two gets an initramfs that loads them.
"""

from __future__ import annotations

import lzma
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.build import images
from harness.build.recipes import recipe_of
from harness.core import process
from harness.core.errors import InfraError
from harness.store.hashes import digest

if TYPE_CHECKING:
    from harness.build.builder import Builder
    from harness.store.artifacts import Artifact, Inputs

COMPONENT = "stock"
DOM0_COMPONENT = "stock-dom0"  # made together with COMPONENT; a machine's dom0 boots it
PACKAGE = "linux-image-amd64"
GUEST_MODULES = ("xen-netfront", "xen-evtchn", "xenfs")
DOM0_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio-rng", "bridge",
    "crc32c_generic", "ext4",  # ext4 requests it by algorithm name, so it is not listed as a dependency
    "xen-evtchn", "xen-privcmd", "xenfs", "xen-gntdev", "xen-gntalloc", "xen-netback", "xen-blkback",
)  # fmt: skip
# Artifact and file of each field of GuestImage, as in built.PLACES.
PLACES = {"kernel": ("kernel-stock", "vmlinuz"), "initrd": ("guest-stock", "guest.cpio.gz")}
DOM0_PLACES = {"kernel": ("kernel-stock", "vmlinuz"), "initrd": ("initrd-stock", "initrd.cpio.gz")}


def make(builder: Builder) -> None:
    """Get the kernel and make both initramfs images, unless the store has them.

    Raises:
        UserError, InfraError: as for graph.build.
    """
    rootfs, keys, tools = (builder.artifacts[kind] for kind in ("rootfs", "keys", "tools"))
    kernel = _kernel(builder)
    # What the archive held when it was asked; the key of the package says no more than its name.
    its = {name: kernel.files[name] for name in ("vmlinuz", "guest.tar", "dom0.tar")}
    content = {"kernel": digest(str(its)), "rootfs": rootfs.files["rootfs.tar"]}
    common = content | {"recipe": recipe_of(sys.modules[__name__])}

    def inputs() -> Inputs:
        tree = {"images/guest": images.hash_tree(builder.images / "guest")}
        return builder.common(rootfs, keys, tools, kernel) | common | tree

    def make_guest(dest: Path) -> None:
        with builder.progress.step("make the stock kernel's guest initramfs"):
            images.make_guest(
                dest,
                rootfs=rootfs.path / "rootfs.tar", keys=keys.path, tools=tools.path,
                images=builder.images / "guest", modules=kernel.path / "guest.tar",
            )  # fmt: skip

    def make_initrd(dest: Path) -> None:
        with images.unpacked(rootfs.path / "rootfs.tar", dest) as debian, \
                tempfile.TemporaryDirectory(dir=dest) as name:
            root = Path(name)
            images.install(debian / "usr/bin/busybox", root / "bin/busybox", mode=0o755)
            images.install(builder.images / "stock/init", root / "init", mode=0o755)
            images.add_modules(root, kernel.path / "dom0.tar")
            images.pack_cpio(root, dest / "initrd.cpio.gz")

    builder.get("guest-stock", inputs, make_guest)
    builder.get(
        "initrd-stock",
        lambda: common | {"images/stock": images.hash_tree(builder.images / "stock")},
        make_initrd,
    )


def _kernel(builder: Builder) -> Artifact:
    inputs = {
        "package": PACKAGE,
        "suite": images.SUITE,
        "modules": " ".join((*GUEST_MODULES, "/", *DOM0_MODULES)),
        "recipe": recipe_of(sys.modules[__name__]),
    }

    def make(dest: Path) -> None:
        with (
            builder.progress.step(f"get {PACKAGE} (mmdebstrap)"),
            tempfile.TemporaryDirectory(dir=dest) as name,
        ):
            work = Path(name)
            images.make_rootfs(work, include=(PACKAGE,), log=dest / "build.log", variant="extract")
            (work / "packages.txt").rename(dest / "packages.txt")
            with images.unpacked(work / "rootfs.tar", work) as root:
                (vmlinuz,) = (root / "boot").glob("vmlinuz-*")
                images.install(vmlinuz, dest / "vmlinuz", mode=0o644)
                for what, names in (("guest", GUEST_MODULES), ("dom0", DOM0_MODULES)):
                    pack_modules(root, names, dest / f"{what}.tar")

    return builder.get("kernel-stock", inputs, make)


def pack_modules(root: Path, names: Iterable[str], target: Path) -> None:
    """Pack modules and their dependencies, uncompressed, as ``modules/NN-name.ko`` in load order.

    Args:
        root: the unpacked package.
        target: the tar to write.

    Raises:
        InfraError: the package lacks a module.
    """
    (folder,) = (root / "usr/lib/modules").iterdir()
    found = {_plain(path.name): path for path in folder.rglob("*.ko*")}
    builtin = {_plain(Path(line).name) for line in (folder / "modules.builtin").read_text().splitlines()}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in order or name in builtin:
            return
        if name not in found:
            raise InfraError(f"{PACKAGE} has no module {name}", hint="Debian's configuration has changed")
        text = found[name].read_bytes()
        data = lzma.decompress(text) if found[name].suffix == ".xz" else text
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends and depends[1] else ():
            add(_plain(other))
        order[name] = data

    for name in names:
        add(_plain(name))
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        modules = Path(name) / "modules"
        modules.mkdir()
        for number, (module, data) in enumerate(order.items()):
            (modules / f"{number:02}-{module}.ko").write_bytes(data)
        process.run(["tar", "--sort=name", "-C", name, "-cf", target, "modules"], what="pack the modules")


def _plain(name: str) -> str:
    return name.partition(".ko")[0].replace("-", "_")
