# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build needs from the host: compilers, other programs, processors and disk space."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.core import process
from harness.core.errors import InfraError


def compiler() -> str:
    """Versions of gcc and the linker, for store keys.

    Raises:
        InfraError: one of them is missing.
    """
    lines = []
    for program, package in (("gcc", "gcc"), ("ld", "binutils")):
        path = process.need(program, package=package)
        said = process.run([path, "--version"], what=f"ask {program} for its version")
        lines.append(said.splitlines()[0])
    return "; ".join(lines)


# Programs that the builds call, with their Debian packages.
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
    """Check that all programs are installed, before a build spends minutes.

    Raises:
        InfraError: some are missing; the message names their packages.
    """
    absent = {package for program, package in PROGRAMS.items() if not process.find(program)}
    absent |= {p for header, p in HEADERS.items() if not (Path("/usr/include") / header).exists()}
    if absent:
        packages = " ".join(sorted(absent))
        raise InfraError(
            f"packages needed for building are not installed: {packages}",
            hint=f"run `make setup`, which installs everything needed, or apt-get install {packages}.",
        )


def cores() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def check_space(root: Path, *, mib: int, what: str) -> None:
    """Check that the disk of ``root`` has space, before a build spends time filling it.

    Args:
        mib: MiB needed.
        what: the action, for the message.

    Raises:
        InfraError: fewer than ``mib`` MiB are free.
    """
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free >> 20
    if free < mib:
        raise InfraError(
            f"{what} needs {mib} MiB in {root}, but only {free} MiB are free",
            hint="free some space, run `evh clean`, or point XDG_CACHE_HOME to a larger disk.",
        )

