# SPDX-License-Identifier: GPL-2.0-or-later
"""What was read, as text: `evh series show`, and the head of `evh validate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.validate.read import Placed


def lines_of(placed: Placed) -> Iterator[str]:
    """A series, its patches, its base, and what was left out, line by line."""
    series, base = placed.series, placed.base
    count = len(series.patches)
    yield f"{series.source}: {count} patch{'es' if count != 1 else ''} for {base.kind}" + (
        f", {series.version}" if series.version else ""
    )
    if series.title:
        yield f"title: {series.title}"
    authors = Counter(patch.author for patch in series.patches)
    width = len(str(count))
    for patch in series.patches:
        by = f"  ({patch.author})" if len(authors) > 1 else ""
        yield f"  {patch.number:>{width}}  {patch.subject}{by}"
    if len(authors) == 1:
        yield f"author: {next(iter(authors))}"
    yield f"base: {base.name} ({base.how})"
    for line in base.tried:
        yield f"  tried before: {line}"
    if needs := series.trailers.get("prerequisite-patch-id"):
        yield f"note: the series asks for other patches below it (prerequisite-patch-id {needs[:12]})"
    for note in series.notes:
        yield f"note: {note}"
    for one in series.left_out:
        yield f"left out: {one.what} ({one.why})"
