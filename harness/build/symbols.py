# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbols that a tree's Kconfig files define, and the successors of those that are transitional.

Only names are read here; values are those that the tree's own ``make olddefconfig`` gives. The library
kconfiglib would give both, but its last release (2020) does not know the keyword ``transitional``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Only x86 is built, so what another architecture defines is not there for us.
ARCH = "x86"
_ENTRY = re.compile(r"^\s*(?:menu)?config\s+([A-Za-z0-9_]+)\s*(?:#.*)?$")
_TRANSITIONAL = re.compile(r"^\s*transitional\s*(?:#.*)?$")
# `default OLD` takes over the value of one symbol. Conditions would make it another thing.
_TAKES_OVER = re.compile(r"^\s*(?:default|def_bool|def_tristate)\s+([A-Za-z0-9_]+)\s*(?:#.*)?$")


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """The symbols of one tree, with the prefix CONFIG_.

    Attributes:
        names: every defined symbol.
        successors: of each transitional symbol (Documentation/kbuild/kconfig-language.rst, Linux 6.18),
            the symbols that take over its value. Kconfig reads it from a configuration, and never writes it.
    """

    names: frozenset[str]
    successors: dict[str, tuple[str, ...]] = field(default_factory=dict)


def symbols_in(tree: Path) -> Symbols:
    """The symbols that the Kconfig files below ``tree`` define for x86.

    Args:
        tree: the top folder of Linux, or the folder ``xen`` of Xen.
    """
    names: set[str] = set()
    transitional: set[str] = set()
    takers: dict[str, list[str]] = {}
    for path in kconfig_files(tree):
        current = ""
        for line in path.read_text(errors="replace").splitlines():
            if entry := _ENTRY.match(line):
                current = f"CONFIG_{entry[1]}"
                names.add(current)
            elif _TRANSITIONAL.match(line):
                transitional.add(current)
            elif taken := _TAKES_OVER.match(line):
                takers.setdefault(f"CONFIG_{taken[1]}", []).append(current)
    return Symbols(
        names=frozenset(names),
        successors={old: tuple(dict.fromkeys(takers.get(old, ()))) for old in sorted(transitional)},
    )


def kconfig_files(tree: Path) -> Iterator[Path]:
    """The Kconfig files of x86 below ``tree``, without those of Kconfig's own tests."""
    for where, folders, files in os.walk(tree):
        folder = Path(where)
        if folder == tree / "arch":
            folders[:] = [ARCH] if ARCH in folders else []
        elif folder.name == "kconfig":
            folders[:] = [name for name in folders if name != "tests"]
        elif folder == tree:
            folders[:] = [name for name in folders if name not in (".git", "Documentation")]
        yield from (folder / name for name in sorted(files) if name.startswith("Kconfig"))
