# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for patch series: ``series show``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import make_progress
from harness.core.text import printable

series = typer.Typer(no_args_is_help=True, help="Look at a patch series.")

SeriesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SERIES...",
        help="A folder of patches, a mailbox, or a range of a git tree (PATH:BASE..TIP); "
        "or two of them, one of Xen and one of Linux.",
    ),
]
XenBaseOption = Annotated[
    str,
    typer.Option(
        "--xen",
        metavar="BASE|TREE[:COMMIT]",
        help="What the Xen series applies to: a folder of xen-patches, or a clone of Xen "
        "(default: as the mails say, or where their blobs are).",
    ),
]
LinuxBaseOption = Annotated[
    str,
    typer.Option("--linux", metavar="BASE|TREE[:COMMIT]", help="The same for the Linux series."),
]


@series.callback()
def _series() -> None:
    """Look at a patch series."""


@series.command()
def show(named: SeriesArgument, xen: XenBaseOption = "", linux: LinuxBaseOption = "") -> None:
    """Print what is read from a series: its patches in order, its base, and what was left out and why.

    [bold]evh series show xen-patches/4.20[/bold]                 a folder
    [bold]evh series show v3.mbx --xen ~/src/xen[/bold]           a mailbox, for a clone of Xen
    [bold]evh series show ~/src/xen:staging..my-branch[/bold]     a range of a git tree
    """
    from harness.store.artifacts import Store
    from harness.validate.read import read_all
    from harness.validate.show import lines_of

    store = Store()
    with (
        make_progress() as progress,
        store.in_use(say=progress.say),
        read_all(named, xen=xen, linux=linux, store=store, progress=progress) as placed,
    ):
        for one in placed:
            for line in lines_of(one):
                print(printable(line))
