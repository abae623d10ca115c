# SPDX-License-Identifier: GPL-2.0-or-later
"""Build Linux from a tree, tinyconfig and fragments: bzImage, vmlinux, modules.tar, linux.config."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.build import kconfig
from harness.build.kconfig import Requested
from harness.build.make import Make, object_folder
from harness.core import process
from harness.core.progress import Progress
from harness.core.records import Tree, Wish

# Disk space for sources (with git objects) and objects together, in MiB.
SPACE_MIB = 4000
X86_64 = "x86_64"


def configure(
    tree: Tree,
    objects: Path,
    *,
    requested: Mapping[str, Requested],
    log: Path,
    jobs: int,
    progress: Progress,
    arch: str = X86_64,
) -> tuple[Make, tuple[Wish, ...]]:
    """Configure a kernel: tinyconfig, and what is requested.

    Args:
        arch: Kbuild's ``ARCH``: x86_64 or i386.

    Returns:
        What builds it, and the wishes that the tree does not fulfil.

    Raises:
        Misconfigured: the effective configuration is not the requested one.
    """
    config = objects / ".config"
    make = Make(
        [f"O={objects}", f"ARCH={arch}"],
        cwd=tree.path, log=log, jobs=jobs, progress=progress, name=name_of(arch), env=FIXED,
    )  # fmt: skip
    make("tinyconfig")
    with config.open("a") as file:
        file.write(kconfig.render(requested))
    make("olddefconfig")
    return make, kconfig.check(config, requested, tree=tree.path, series=bool(tree.series))


def name_of(arch: str) -> str:
    """What a kernel is called in progress lines."""
    return "linux" if arch == X86_64 else f"linux {arch}"


def build_linux(
    tree: Tree,
    dest: Path,
    *,
    requested: Mapping[str, Requested],
    jobs: int,
    progress: Progress,
    arch: str = X86_64,
) -> None:
    """Build one kernel from ``tree`` into ``dest``.

    Args:
        arch: Kbuild's ``ARCH``: x86_64 or i386.
        requested: Kconfig symbols in addition to tinyconfig; the effective value of each is checked.
        jobs: number of parallel compiler jobs.

    Raises:
        UserError: the effective configuration is not the requested one, or the tree does not compile.
        InfraError: no space, or a program is missing.
    """
    log = dest / "build.log"
    with object_folder(tree, name_of(arch).replace(" ", "-")) as objects:
        config = objects / ".config"
        make, wishes = configure(
            tree, objects, requested=requested, log=log, jobs=jobs, progress=progress, arch=arch
        )
        kconfig.keep_wishes(dest, wishes)
        modules = "=m\n" in config.read_text()
        make("bzImage", *(("modules",) if modules else ()))
        shutil.copyfile(config, dest / "linux.config")
        shutil.copyfile(objects / "arch/x86/boot/bzImage", dest / "bzImage")
        shutil.copyfile(objects / "vmlinux", dest / "vmlinux")
        if modules:
            root = objects / "installed"
            make("modules_install", f"INSTALL_MOD_PATH={root}", "INSTALL_MOD_STRIP=1", "DEPMOD=true")
            process.run(
                ["tar", "--sort=name", "--owner=0", "--group=0", "--mtime=@1735689600",
                 "-C", root, "-cf", dest / "modules.tar", "."],
                what="pack the modules",
            )


# Values that Linux would otherwise take from the host and the clock.
FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "2025-01-01 00:00:00 UTC",
    "KBUILD_BUILD_USER": "evtchn-harness",
    "KBUILD_BUILD_HOST": "localhost",
    # git describe of the applied series tells nothing and takes a second.
    "LOCALVERSION": "",
}
