# SPDX-License-Identifier: GPL-2.0-or-later
"""Build Linux from a tree, tinyconfig and fragments: bzImage, vmlinux, modules.tar, linux.config."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.build import kconfig
from harness.build.make import Make, object_folder
from harness.core import process
from harness.core.progress import Progress
from harness.core.records import Tree

# Disk space for sources (with git objects) and objects together, in MiB.
SPACE_MIB = 4000
X86_64 = "x86_64"


def build_linux(
    tree: Tree,
    dest: Path,
    *,
    fragments: Sequence[Path],
    jobs: int,
    progress: Progress,
    stock: bool = False,
    arch: str = X86_64,
) -> None:
    """Build one kernel from ``tree`` into ``dest``.

    Args:
        arch: Kbuild's ``ARCH``: x86_64 or i386.
        fragments: Kconfig fragments added to tinyconfig; every symbol's effective value is checked.
        jobs: number of parallel compiler jobs.
        stock: tolerate symbols that only the series defines.

    Raises:
        UserError: the effective configuration is not the requested one, or the tree does not compile.
        InfraError: no space, or a program is missing.
    """
    log = dest / "build.log"
    requested = kconfig.merge(fragments)
    name = "linux" if arch == X86_64 else f"linux {arch}"
    with object_folder(tree, name.replace(" ", "-")) as objects:
        config = objects / ".config"
        make = Make(
            [f"O={objects}", f"ARCH={arch}"],
            cwd=tree.path, log=log, jobs=jobs, progress=progress, name=name, env=FIXED,
        )
        make("tinyconfig")
        with config.open("a") as file:
            file.write(kconfig.render(requested))
        make("olddefconfig")
        kconfig.check(config, requested, tree=tree.path, stock=stock)
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
