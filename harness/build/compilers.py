# SPDX-License-Identifier: GPL-2.0-or-later
"""What the builds of Xen and of Linux share: make with progress, ccache, object directories."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.core import process
from harness.core.errors import InfraError


def compiler() -> str:
    """Version of what turns sources into code: gcc and the linker, for cache keys.

    Raises:
        InfraError: one of them is missing.
    """
    lines = []
    for program, package in (("gcc", "gcc"), ("ld", "binutils")):
        path = process.need(program, package=package)
        said = process.run([path, "--version"], what=f"ask {program} for its version")
        lines.append(said.splitlines()[0])
    return "; ".join(lines)


# What the builds call, and the packages it comes in.
PROGRAMS = {
    "gcc": "gcc",
    "ld": "binutils",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "git": "git",
    "xz": "xz-utils",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
}
HEADERS = {"gelf.h": "libelf-dev"}


def check_programs() -> None:
    """Make sure that all programs are there before minutes are put into a build.

    Raises:
        InfraError: naming the packages of all that are missing.
    """
    absent = {package for program, package in PROGRAMS.items() if not process.find(program)}
    absent |= {p for header, p in HEADERS.items() if not (Path("/usr/include") / header).exists()}
    if absent:
        packages = " ".join(sorted(absent))
        raise InfraError(
            f"packages that a build needs are not installed: {packages}",
            hint=f"`make setup` installs all that is needed; or: apt-get install {packages}.",
        )


def cores() -> int:
    """Processors that we may use."""
    return len(os.sched_getaffinity(0))


def check_space(root: Path, *, mib: int, what: str) -> None:
    """Make sure that there is space before hours are put into filling it.

    Raises:
        InfraError: there are fewer than ``mib`` MiB.
    """
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free >> 20
    if free < mib:
        raise InfraError(
            f"{what} needs {mib} MiB in {root}, and {free} MiB are free",
            hint="free some space, `evh clean`, or set XDG_CACHE_HOME to a bigger disk.",
        )

