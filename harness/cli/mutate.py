# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``mutate``, for work on the suites themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import make_progress


def mutate(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Only these files of tests/mutations, without .patch."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also try those recorded for this series and these tests.")
    ] = False,
) -> None:
    """Make deliberate bugs, see which tests notice them, and write docs/mutations.md.

    Each patch in tests/mutations is applied to the tree that it is for, built, and judged by the
    tests that must notice it. Results are recorded one by one: an interrupted run resumes.

    [bold]evh mutate[/bold]                           all that are not recorded yet
    [bold]evh mutate --again words-of-64-bits[/bold]  one, whatever is recorded
    """
    from harness.dev.mutate import mutate as do_mutate
    from harness.store.artifacts import Store

    with make_progress() as progress:
        code = do_mutate(names or (), again=again, store=Store(), progress=progress, say=_say)
    raise typer.Exit(code)


def _say(line: str) -> None:
    print(line, flush=True)
