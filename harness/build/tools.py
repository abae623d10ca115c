# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile this project's C: one static program per file in images/tools, and the bare guests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError
from harness.store.hashes import sha256_of

FLAGS = ("-O2", "-s", "-Wall", "-Wextra", "-Werror", "-static")
# For a kernel: no libc, no red zone (a 64-bit PV guest runs in ring 3, but Xen pushes
# frames on its stack), no vector registers (their state is not set up).
BARE_FLAGS = (
    "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-ffreestanding",
    "-fno-pie", "-no-pie", "-fno-toplevel-reorder", "-mno-red-zone", "-mno-sse", "-mno-mmx",
    "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none",
    "-nostdlib", "-static", "-I.", "-Wl,-T,bare.lds", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments",
)  # fmt: skip


def inputs_of(folder: Path, *, flags: tuple[str, ...] = FLAGS) -> dict[str, str]:
    """Each source, header and linker script with its SHA-256, and the flags: the cache key.

    A file in a subfolder is listed by its path relative to ``folder``.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".S", ".lds"))
    sources = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    return sources | {"flags": " ".join(flags)}


# Compilers whose package has another name.
PACKAGES_OF = {"i686-linux-gnu-gcc": "gcc-i686-linux-gnu libc6-dev-i386-cross"}


def compiler_of(gcc: str) -> str:
    """Version of a cross compiler, for store keys.

    Raises:
        InfraError: it is not installed.
    """
    path = process.need(gcc, package=PACKAGES_OF.get(gcc, gcc))
    return process.run([path, "--version"], what=f"ask {gcc} for its version").splitlines()[0]


def build_tools(folder: Path, dest: Path, *, compiler: str = "gcc", only: Sequence[str] = ()) -> None:
    """Compile every ``*.c`` of ``folder`` into ``dest``.

    Args:
        compiler: gcc, or a gcc cross compiler.
        only: names of the tools to build; empty: all.

    Raises:
        UserError: a tool does not compile.
    """
    gcc = process.need(compiler, package=PACKAGES_OF.get(compiler, compiler))
    log = dest / "build.log"
    log.touch()
    for source in sorted(folder.glob("*.c")):
        if only and source.stem not in only:
            continue
        process.run(
            [gcc, *FLAGS, "-I", folder, "-o", dest / source.stem, source],
            what=f"build the tool {source.name}",
            log=log,
            error=UserError,
            hint=f"correct images/tools/{source.name}.",
        )


def bare_sources(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The sources of each kind of bare guest.

    ``pvh/head32.S`` makes a kind: ``pvh32``. Such a guest consists of the ``*32.S`` and ``*.c`` files in
    ``pvh``, and of every ``*.c`` file that is not in a folder with heads.

    Returns:
        The files by kind, the head's folder first; the others in the order of their paths.
    """
    heads = sorted(folder.glob("*/head??.S"))
    starts = {head.parent for head in heads}
    common = sorted(path for path in folder.rglob("*.c") if path.parent not in starts)
    return {
        f"{head.parent.name}{head.stem[-2:]}": (
            *sorted(head.parent.glob(f"*{head.stem[-2:]}.S")),
            *sorted(head.parent.glob("*.c")),
            *common,
        )
        for head in heads
    }


def bare_defines(kind: str) -> tuple[str, str]:
    """What the compiler is told of a kind: ``-DPVH`` and ``-m32`` for ``pvh32``."""
    return f"-D{kind[:-2].upper()}", f"-m{kind[-2:]}"


def build_bare(folder: Path, dest: Path) -> None:
    """Link the bare guests out of ``folder`` into ``dest``, each kind as ``bare-KIND``.

    Raises:
        UserError: a bare guest does not compile.
    """
    gcc = process.need("gcc", package="gcc")
    log = dest / "build.log"
    log.touch()
    for kind, files in bare_sources(folder).items():
        process.run(
            [gcc, *bare_defines(kind), *BARE_FLAGS, "-o", dest / f"bare-{kind}", *files],
            what=f"build the bare guest bare-{kind}",
            cwd=folder,
            log=log,
            error=UserError,
            hint="correct the files in images/bare that the compiler names.",
        )
