# SPDX-License-Identifier: GPL-2.0-or-later
"""Read what the user named: one series, or one of Xen and one of Linux, each with its base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.store.artifacts import Store
from harness.validate import choose, mails, ranges
from harness.validate.base import Found, Search, find_base
from harness.validate.patches import Series


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A series and its base."""

    series: Series
    base: Found


@contextmanager
def read_all(
    named: Sequence[str], *, xen: str = "", linux: str = "", store: Store, progress: Progress
) -> Iterator[list[Placed]]:
    """Read one or two series, Xen's first; the mails are there as long as the block runs.

    Args:
        xen, linux: what --xen and --linux name; empty: nothing.

    Raises:
        UserError: one of them cannot be read or has no base, or both are of one tree.
    """
    given = {kind: word for kind, word in (("xen", xen), ("linux", linux)) if word}
    if not 1 <= len(named) <= 2:
        raise UserError(f"{len(named)} series were named", hint="Name one, or one of Xen and one of Linux.")
    with TemporaryDirectory(prefix="evh-mails-") as scratch:
        placed = []
        for number, one in enumerate(named):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            series = read_one(one, folder, given=given)
            base = find_base(series, Search(store=store, progress=progress, given=given))
            word = given.get(base.kind)
            if series.tree and word and Path(word).expanduser().resolve() != series.tree:
                raise UserError(
                    f"{one} has its base, and --{base.kind} {word} is another", hint="Leave one of them out."
                )
            placed.append(Placed(series=series, base=base))
        if len({one.base.kind for one in placed}) < len(placed):
            raise UserError(
                f"{named[0]} and {named[1]} are both series of {placed[0].base.kind}",
                hint="Two at once are one of Xen and one of Linux; validate them one after the other.",
            )
        if unused := given.keys() - {one.base.kind for one in placed}:
            kind = unused.pop()
            raise UserError(f"--{kind} was given, but no series of {kind}", hint="Leave it out.")
        yield sorted(placed, key=lambda one: one.base.kind, reverse=True)


def read_one(named: str, scratch: Path, *, given: dict[str, str] | None = None) -> Series:
    """Read one series: a folder, a mailbox, a patch, or a range.

    Raises:
        UserError: it cannot be read.
    """
    if ranges.is_range(named):
        trees = [Path(word) for word in (given or {}).values() if Path(word).is_dir()]
        return ranges.read_range(named, tree=trees[0] if len(trees) == 1 else None)
    where = Path(named).expanduser()
    found, left_out = mails.read(where, scratch)
    return choose.choose(found, source=where, left_out=left_out)
