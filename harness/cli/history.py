# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that compare runs: ``diff`` and ``trends``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BUG
from harness.core.paths import RUNS


def diff(
    before: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder to compare with.")],
    after: Annotated[Path, typer.Argument(metavar="RUN", help="The newer run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs, cell by cell: new red, fixed, still red, known, flaky, missing.

    The exit code is 1 if a cell is newly red, has no verdict any more or is newly skipped, and 4 if a
    deterministic cell differs on equal artifacts.
    """
    import msgspec

    from harness.history.diff import diff as compare
    from harness.history.diff import exit_code, text_of

    found = compare(before, after)
    if as_json:
        document = {"same": found.same, "inputs": found.inputs, "differences": found.differences}
        print(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
    else:
        print(text_of(found))
    raise typer.Exit(exit_code(found))


def trends(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A folder of run folders.")] = RUNS,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="FILE", help="Where to write the page (default: RUNS/trends.html)."),
    ] = None,
    feed: Annotated[
        Path | None,
        typer.Option("--feed", metavar="FILE", help="Also write an Atom feed of changes of verdict."),
    ] = None,
    link: Annotated[str, typer.Option("--link", metavar="URL", help="For the feed: where the page is.")] = "",
) -> None:
    """Show what changed over many runs: metrics, flaky cells, verdicts by night. Writes a page with plots.

    What is counted under the instruction counter is compared exactly; times are searched for change points.
    The exit code is 4 if a deterministic cell differs on equal artifacts.
    """
    from harness.history.feed import feed as make_feed
    from harness.history.page import TRENDS_HTML, write_page
    from harness.history.trends import text_of
    from harness.history.trends import trends as find

    found = find(runs)
    print(text_of(found))
    place = page or runs / TRENDS_HTML
    try:
        write_page(found, place)
        print(f"page: {place}")
        if feed is not None:
            feed.write_text(make_feed(found.history, link=link), encoding="utf-8")
    except OSError as error:
        print(f"evh: note: the page or the feed was not written: {error}", file=sys.stderr)
    raise typer.Exit(BUG if found.contradictions else 0)
