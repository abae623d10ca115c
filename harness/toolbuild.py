# SPDX-License-Identifier: GPL-2.0-or-later
"""The in-guest tools: one static program for each C file in images/tools."""

from __future__ import annotations

from pathlib import Path

from harness import proc
from harness.errors import UserError
from harness.store import sha256_of

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-static")


def inputs_of(folder: Path) -> dict[str, str]:
    """Each source and header by name with its SHA-256, for the cache key."""
    files = sorted([*folder.glob("*.c"), *folder.glob("*.h")])
    return {path.name: sha256_of(path) for path in files} | {"flags": " ".join(FLAGS)}


def build_tools(folder: Path, dest: Path) -> None:
    """Compile every ``*.c`` of ``folder`` into ``dest``.

    Raises:
        UserError: a tool does not compile.
    """
    gcc = proc.need("gcc", package="gcc")
    log = dest / "build.log"
    log.touch()
    for source in sorted(folder.glob("*.c")):
        proc.run(
            [gcc, *FLAGS, "-I", folder, "-o", dest / source.stem, source],
            what=f"build the tool {source.name}",
            log=log,
            error=UserError,
            hint=f"correct images/tools/{source.name}.",
        )
