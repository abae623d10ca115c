# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the Xen hypervisor from a tree: xen (multiboot ELF), xen-syms, xen.config.

With CONFIG_COVERAGE, also keep what gcov needs for the event channel code:
``coverage/*.gcno``, the sources, and a diff that shows which lines the series adds.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.build import kconfig
from harness.build.kconfig import Requested
from harness.build.make import Make, object_folder
from harness.core import process
from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.core.records import Tree, Wish
from harness.source import series

# Disk space for sources and objects together, in MiB.
SPACE_MIB = 1500
# Files whose coverage is reported, relative to xen/.
COVERED = "common/event_*.c"
SERIES_DIFF = "series.diff"


def configure(
    tree: Tree, objects: Path, *, requested: Mapping[str, Requested], log: Path, jobs: int, progress: Progress
) -> tuple[Make, tuple[Wish, ...]]:
    """Configure the hypervisor: its defaults, and what is requested.

    Returns:
        What builds it, and the wishes that the tree does not fulfil.

    Raises:
        Misconfigured: the effective configuration is not the requested one.
    """
    source = tree.path / "xen"
    config = objects / ".config"
    config.write_text(kconfig.render(requested))
    make = Make(
        [f"O={objects}", "XEN_TARGET_ARCH=x86_64"],
        cwd=source, log=log, jobs=jobs, progress=progress, name="xen", env=FIXED,
    )  # fmt: skip
    make("olddefconfig")
    return make, kconfig.check(config, requested, tree=source, series=bool(tree.series))


def build_xen(
    tree: Tree,
    dest: Path,
    *,
    requested: Mapping[str, Requested],
    jobs: int,
    progress: Progress,
) -> None:
    """Build the hypervisor from ``tree`` into ``dest``.

    Args:
        requested: Kconfig symbols in addition to the defaults; the effective value of each is checked.
        jobs: number of parallel compiler jobs.

    Raises:
        UserError: the effective configuration is not the requested one, or the tree does not compile.
        InfraError: no space, or a program is missing.
    """
    source = tree.path / "xen"
    log = dest / "build.log"
    with object_folder(tree, "xen") as objects:
        make, wishes = configure(
            tree, objects, requested=requested, log=log, jobs=jobs, progress=progress
        )
        kconfig.keep_wishes(dest, wishes)
        make("build" if (source / "build.mk").exists() else "")
        shutil.copyfile(objects / ".config", dest / "xen.config")
        shutil.copyfile(objects / "xen-syms", dest / "xen-syms")
        # QEMU's multiboot loader needs the uncompressed 32-bit ELF.
        with gzip.open(objects / "xen.gz") as packed, (dest / "xen").open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        if (request := requested.get("CONFIG_COVERAGE")) and request.value == "y":
            keep_notes(tree, objects, dest / "coverage")
    if (dest / "xen").read_bytes()[:5] != b"\x7fELF\x01":
        raise InfraError(
            "the hypervisor that was built is not a 32-bit multiboot ELF",
            hint="QEMU cannot load it; look at build.log beside it.",
        )


def keep_notes(tree: Tree, objects: Path, dest: Path) -> None:
    """Keep what gcov needs besides the counters: its notes, the sources, and the series' diff.

    A developer's own tree, built as it is, has no base to compare with, so it gets no ``series.diff``.
    """
    dest.mkdir()
    for source in sorted((tree.path / "xen").glob(COVERED)):
        notes = (objects / source.relative_to(tree.path / "xen")).with_suffix(".gcno")
        if notes.exists():
            shutil.copyfile(notes, dest / notes.name)
            shutil.copyfile(source, dest / source.name)
    if tree.source.tree is None or tree.series:
        command = ["git", "diff", "--no-color", "--unified=0", series.BASE_REF, "--", f"xen/{COVERED}"]
        diff = process.run(command, cwd=tree.path, what="see which lines the series adds")
        (dest / SERIES_DIFF).write_text(diff)


# Values that Xen would otherwise take from the host and the clock.
FIXED = {
    "XEN_BUILD_DATE": "2025-01-01",
    "XEN_BUILD_TIME": "00:00:00",
    "XEN_BUILD_HOST": "localhost",
    "XEN_DOMAIN": "localdomain",
    "XEN_WHOAMI": "evtchn-harness",
    "SOURCE_DATE_EPOCH": "1735689600",
}
