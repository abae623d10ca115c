# SPDX-License-Identifier: GPL-2.0-or-later
"""Merge Kconfig fragments, and check that the resulting .config has every requested value.

Kconfig silently drops a symbol whose dependencies are not met. A kernel
without it then fails much later, in an unrelated place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError

_SET = re.compile(r'(CONFIG_[A-Za-z0-9_]+)=("(?:[^"\\]|\\.)*"|[^\s"#]+)$')
# Kconfig ignores what follows, so a fragment may say why (scripts/kconfig/confdata.c:conf_read_simple()).
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set(?:\s.*)?$")


@dataclass(frozen=True, kw_only=True)
class Requested:
    """A requested symbol: its value (``n`` for off) and the ``file:line`` that requests it."""

    symbol: str
    value: str
    place: str


def parse(text: str, *, name: str) -> dict[str, Requested]:
    """Parse a fragment; gives the requested symbols by name.

    Args:
        name: the file's name, for messages.

    Raises:
        UserError: a line is not an assignment, or a symbol is set twice.
    """
    requested: dict[str, Requested] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.rstrip()
        place = f"{name}:{number}"
        if unset := _UNSET.match(line):
            symbol, value = unset[1], "n"
        elif not line or line.startswith("#"):
            continue
        elif assigned := _SET.match(line):
            symbol, value = assigned[1], assigned[2]
        else:
            raise UserError(
                f"{place}: not a Kconfig assignment: {line!r}",
                hint="write CONFIG_NAME=value, or CONFIG_NAME=n to turn it off.",
            )
        if symbol in requested:
            raise UserError(
                f"{place}: {symbol} was already set at {requested[symbol].place}",
                hint="keep one of the two lines.",
            )
        requested[symbol] = Requested(symbol=symbol, value=value, place=place)
    return requested


def merge(fragments: Iterable[Path]) -> dict[str, Requested]:
    """The symbols of several fragment files; a later file overrides an earlier one."""
    merged: dict[str, Requested] = {}
    for path in fragments:
        merged |= parse(path.read_text(), name=str(path))
    return merged


def render(requested: Mapping[str, Requested]) -> str:
    """The text to append to a ``.config`` before ``make olddefconfig``."""
    return "".join(
        f"# {w.symbol} is not set\n" if w.value == "n" else f"{w.symbol}={w.value}\n"
        for w in requested.values()
    )


def unmet(config: str, requested: Mapping[str, Requested]) -> list[tuple[Requested, str]]:
    """Requests that ``config`` (text of the effective ``.config``) does not meet, with its value."""
    got = {m[1]: m[2] for line in config.splitlines() if (m := _SET.match(line))}
    return [
        (request, got.get(request.symbol, "n"))
        for request in requested.values()
        if got.get(request.symbol, "n") != request.value
    ]


def known_symbols(tree: Path) -> set[str]:
    """Every ``CONFIG_`` symbol that a Kconfig file in ``tree`` defines."""
    defined = re.compile(r"^\s*(?:menu)?config\s+([A-Za-z0-9_]+)\s*$", re.MULTILINE)
    symbols: set[str] = set()
    for path in tree.rglob("Kconfig*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            symbols.update(f"CONFIG_{name}" for name in defined.findall(text))
    return symbols


def check(config: Path, requested: Mapping[str, Requested], *, tree: Path, stock: bool = False) -> list[str]:
    """Check that every requested value is the effective one.

    Args:
        config: the effective ``.config``.
        tree: the source tree, to distinguish a dropped symbol from one that does not exist.
        stock: the tree is unpatched: tolerate symbols that only the series defines.

    Returns:
        The tolerated symbols.

    Raises:
        UserError: some values differ; the message names each symbol, where it was requested, and
            why it has another value.
    """
    missing = unmet(config.read_text(), requested)
    if not missing:
        return []
    known = known_symbols(tree)
    tolerated: list[str] = []
    complaints: list[str] = []
    for request, got in missing:
        if request.symbol not in known:
            if stock:
                tolerated.append(request.symbol)
                continue
            why = "this tree has no such symbol"
        else:
            why = f"Kconfig set it to {got} (an unmet dependency, a select or a default)"
        complaints.append(f"{request.place}: {request.symbol}={request.value}: {why}")
    if complaints:
        raise UserError(
            "the effective configuration differs from the requested one:\n" + "\n".join(complaints),
            hint="look the symbol up with `make menuconfig`, '/', "
            "and add its dependencies to the fragment, or remove the line.",
        )
    return tolerated
