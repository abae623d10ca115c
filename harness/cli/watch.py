# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``watch``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import (
    AbiOption,
    FilesArgument,
    FlavourOption,
    GuestOption,
    JobsOption,
    KeywordOption,
    LinuxTreeOption,
    SeedsOption,
    SuiteOption,
    WithSeriesOption,
    XenTreeOption,
    checked_trees,
    make_progress,
)
from harness.core.records import Trees
from harness.plan.selection import select


def watch(
    files: FilesArgument = None,
    suite: SuiteOption = None,
    guest: GuestOption = None,
    abi: AbiOption = None,
    seeds: SeedsOption = "",
    flavour: FlavourOption = "",
    keyword: KeywordOption = "",
    cell: Annotated[str, typer.Option("--cell", metavar="ID", help="Only the cell with this ID.")] = "",
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    with_series: WithSeriesOption = False,
    jobs: JobsOption = None,
) -> None:
    """Run cells now and after each edit, until Ctrl-C; one line for each run.

    An edit is one of your trees, of images/, of the patches, or of the tests. The line says how
    the verdicts differ from those before it; the exit code is that of the last run.

    [bold]evh watch --suite conformance --guest bare-pv64 --xen-tree ~/xen[/bold]
    [bold]evh watch my_test.py[/bold]
    """
    from harness.dev.watch import watch as do_watch

    trees = checked_trees(Trees(xen_tree=xen_tree, linux_tree=linux_tree, with_series=with_series))
    select(
        suites=suite or (), files=files or (), guests=guest or (), abis=abi or (), keyword=keyword,
        cell=cell, seeds=seeds, flavour=flavour,
    )  # a mistake is told before anything runs  # fmt: skip
    words = list(files or ())
    for option, values in (("--suite", suite), ("--guest", guest), ("--abi", abi)):
        words += [word for value in values or () for word in (option, str(value))]
    for option, value in (
        ("--seeds", seeds), ("--flavour", flavour), ("-k", keyword), ("--cell", cell),
        ("--xen-tree", trees.xen_tree), ("--linux-tree", trees.linux_tree), ("--jobs", jobs),
    ):  # fmt: skip
        words += [option, str(value)] if value else []
    words += ["--with-series"] if with_series else []
    own = [tree for tree in (trees.xen_tree, trees.linux_tree) if tree is not None]
    with make_progress() as progress:
        last = do_watch(words, files=files or (), trees=own, progress=progress)
    raise typer.Exit(last.code)
