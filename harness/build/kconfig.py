# SPDX-License-Identifier: GPL-2.0-or-later
"""Merge Kconfig fragments, and check that the resulting .config has every requested value.

Kconfig silently drops a symbol whose dependencies are not met. A kernel
without it then fails much later, in an unrelated place.

A line of a fragment may end in a comment that says on what it depends, since one
fragment serves several versions (docs/building.md):

    CONFIG_A=y                      required: it is an error if the tree cannot have it
    CONFIG_B=y  # where it exists   required if the tree has the symbol, or the series, which adds it
    CONFIG_C=y  # wanted            reported if the tree cannot have it
    CONFIG_D=y  # since 7.0         for these versions alone; also: until 6.14, wanted since 6.15 until 7.1
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.build.symbols import Symbols, symbols_in
from harness.core.errors import UserError, reason_of
from harness.core.paths import CHECKOUT
from harness.core.records import Wish
from harness.source.versions import series_of

_SET = re.compile(r'(CONFIG_[A-Za-z0-9_]+)=("(?:[^"\\]|\\.)*"|[^\s"#]+)(?:\s+#\s*(.*?))?\s*$')
# Kconfig ignores what follows, so a fragment may say why (scripts/kconfig/confdata.c:conf_read_simple()).
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set(?:\s.*)?$")
_WORDS = re.compile(
    r"(?P<need>wanted|where it exists)?,?\s*"
    r"(?:since (?P<since>\d+\.\d+))?,?\s*(?:until (?P<until>\d+\.\d+))?$"
)
WISHES = "wishes.json"


class Need(enum.StrEnum):
    """What it means if a tree does not have a requested symbol."""

    REQUIRED = "required"
    IF_THERE = "where it exists"
    WANTED = "wanted"


@dataclass(frozen=True, kw_only=True)
class Requested:
    """A requested symbol.

    Attributes:
        symbol, value: ``n`` is off.
        place: the ``file:line`` that requests it.
    """

    symbol: str
    value: str
    place: str
    need: Need = Need.REQUIRED


class Misconfigured(UserError):
    """A tree cannot have the requested configuration.

    Args:
        problems: a line for each symbol: where it was requested, and why it has another value.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "the effective configuration differs from the requested one:\n" + "\n".join(self.problems),
            hint="look the symbol up with `make menuconfig`, '/', and add its dependencies to the fragment; "
            "a line of your own (--xen-config, --linux-config) overrides one of the base, "
            "and `# wanted` after it makes it a wish.",
        )


def parse(text: str, *, name: str, version: str) -> dict[str, Requested]:
    """Parse a fragment; gives the symbols that it requests of this version, by name.

    Args:
        name: the file's name, for messages.
        version: of the tree, e.g. ``6.12.107``.

    Raises:
        UserError: a line is not an assignment, or a symbol is set twice.
    """
    series = series_of(version)
    requested: dict[str, Requested] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.rstrip()
        place = f"{name}:{number}"
        words: re.Match[str] | None = None
        if unset := _UNSET.match(line):
            symbol, value = unset[1], "n"
        elif not line or line.startswith("#"):
            continue
        elif assigned := _SET.match(line):
            symbol, value = assigned[1], assigned[2]
            words = _WORDS.match(assigned[3] or "")
            if words is None:
                raise UserError(
                    f"{place}: unknown words after the value: {assigned[3]!r}",
                    hint="known: wanted, where it exists, since 7.0, until 7.2; "
                    "any other comment is a line of its own.",
                )
            if (words["since"] and series < series_of(words["since"])) or (
                words["until"] and series > series_of(words["until"])
            ):
                continue
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
        need = Need(words["need"]) if words and words["need"] else Need.REQUIRED
        requested[symbol] = Requested(symbol=symbol, value=value, place=place, need=need)
    return requested


def merge(fragments: Iterable[Path], *, version: str) -> dict[str, Requested]:
    """The symbols that several fragment files request of this version; a later file overrides an earlier one.

    Raises:
        UserError: a file cannot be read, or a line of it is wrong.
    """
    merged: dict[str, Requested] = {}
    for path in fragments:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot read the Kconfig fragment {path}: {reason_of(error)}", hint="name a text file."
            ) from error
        name = path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path
        merged |= parse(text, name=str(name), version=version)
    return merged


def render(requested: Mapping[str, Requested]) -> str:
    """The text to append to a ``.config`` before ``make olddefconfig``."""
    return "".join(
        f"# {w.symbol} is not set\n" if w.value == "n" else f"{w.symbol}={w.value}\n"
        for w in requested.values()
    )


def values(config: str) -> dict[str, str]:
    """The symbols that are set in the text of a ``.config``."""
    return {m[1]: m[2] for line in config.splitlines() if (m := _SET.match(line))}


def check(config: Path, requested: Mapping[str, Requested], *, tree: Path, series: bool) -> tuple[Wish, ...]:
    """Check that every requested value is the effective one.

    Args:
        config: the effective ``.config``.
        tree: the folder with the tree's Kconfig files, which tell a dropped symbol from an unknown one.
        series: the series is applied, so what it adds has to be there.

    Returns:
        What the tree does not have, of what may be absent.

    Raises:
        Misconfigured: some required values differ.
    """
    got = values(config.read_text())
    unmet = [one for one in requested.values() if got.get(one.symbol, "n") != one.value]
    if not unmet:
        return ()
    symbols = symbols_in(tree)
    problems: list[str] = []
    wishes: list[Wish] = []
    for one in unmet:
        if _taken_over(one, got, symbols):
            continue
        exists = one.symbol in symbols.names
        why = f"Kconfig set it to {got.get(one.symbol, 'n')} (an unmet dependency, a select or a default)"
        if one.symbol in symbols.successors:
            heirs = symbols.successors[one.symbol]
            now = ", ".join(f"{heir}={got.get(heir, 'n')}" for heir in heirs) or "nothing"
            why = f"it is transitional in this tree, and {now} takes over its value"
        elif not exists:
            why = "this tree has no such symbol"
        if one.need is Need.WANTED or (one.need is Need.IF_THERE and not exists and not series):
            wishes.append(Wish(symbol=one.symbol, value=one.value, place=one.place, why=why))
        else:
            problems.append(f"{one.place}: {one.symbol}={one.value}: {why}")
    if problems:
        raise Misconfigured(problems)
    return tuple(wishes)


def _taken_over(one: Requested, got: Mapping[str, str], symbols: Symbols) -> bool:
    """Whether a transitional symbol took effect under the name of its successor."""
    heirs = symbols.successors.get(one.symbol, ())
    return any(got.get(heir, "n") == one.value for heir in heirs)


def keep_wishes(dest: Path, wishes: Iterable[Wish]) -> None:
    """Write down, beside a kernel, what its tree does not have of what was wanted."""
    (dest / WISHES).write_text(json.dumps([asdict(wish) for wish in wishes], indent=1) + "\n")


def kept_wishes(folder: Path) -> tuple[Wish, ...]:
    """What ``keep_wishes`` wrote; none for a kernel that is older than it."""
    path = folder / WISHES
    return tuple(Wish(**wish) for wish in json.loads(path.read_text())) if path.exists() else ()
