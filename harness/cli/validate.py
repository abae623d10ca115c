# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for patch series: ``series show``, ``validate``, ``b4-check`` and ``bisect``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    BUG,
    Accel,
    AccelOption,
    JobsOption,
    KnownIssuesOption,
    RunDirOption,
    known_issues,
    make_progress,
)
from harness.core.errors import UserError
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
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox/--no-sandbox",
        help="Build in bubblewrap: no network, and write access to the work tree alone.",
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


def validate(
    named: SeriesArgument,
    xen: XenBaseOption = "",
    linux: LinuxBaseOption = "",
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="build|bare|quick|normal|full",
            help="[bold]build[/bold]: apply and build; [bold]bare[/bold]: and the bare guests' conformance "
            "and costs; [bold]quick[/bold]: and the smoke suite; [bold]normal[/bold]: and abuse, race, "
            "domains and stress; [bold]full[/bold]: and limits and lifecycle.",
        ),
    ] = "quick",
    patches: Annotated[
        str, typer.Option("--patches", metavar="A-B", help="Judge only these patches of the series.")
    ] = "",
    until_red: Annotated[
        bool, typer.Option("--until-red", help="Stop at the first patch that is red.")
    ] = False,
    sandbox: SandboxOption = True,
    accel: AccelOption = Accel.AUTO,
    jobs: JobsOption = None,
    run_dir: RunDirOption = None,
    known: KnownIssuesOption = None,
) -> None:
    """Judge a patch series, patch by patch, against its base.

    Each patch is applied, looked at, built, and run where it changes anything; a cell is a regression only
    if it was good before. Results are kept: a second run, or a new version, repeats only what changed.

    [bold]evh validate xen-patches/4.20[/bold]                         this project's own series
    [bold]evh validate v3.mbx --xen ~/src/xen[/bold]                   a mailbox, for a clone of Xen
    [bold]evh validate ~/src/xen:staging..my-branch --level bare[/bold]   a range, without Linux
    """
    from harness.run.folder import run_folder
    from harness.store.artifacts import Store
    from harness.validate.behave import LEVELS
    from harness.validate.read import read_all
    from harness.validate.reply import write_outputs
    from harness.validate.show import lines_of
    from harness.validate.table import Growing, print_end
    from harness.validate.validate import Request, check_range, validate

    if level not in LEVELS:
        raise UserError(f"unknown level {level!r}", hint=f"Known: {', '.join(LEVELS)}.")
    first, last = numbers(patches)
    request = Request(
        level=level, first=first, last=last, until_red=until_red, confined=sandbox, accelerator=accel,
        jobs=jobs, known=known_issues(known), command=("evh", *sys.argv[1:]),
    )  # fmt: skip
    store = Store()
    with (
        make_progress() as progress,
        store.in_use(say=progress.say),
        read_all(named, xen=xen, linux=linux, store=store, progress=progress) as placed,
    ):
        for one in placed:
            check_range(request, len(one.series.patches))
            for line in lines_of(one):
                print(printable(line))
        with run_folder(run_dir) as folder:
            growing = Growing(level, file=sys.stdout)
            record = validate(
                placed, request, folder=folder, store=store, progress=progress, show=growing.show
            )
            print_end(record, file=sys.stdout)
            write_outputs(folder, record, [one.series for one in placed])
            print(f"to answer with: {folder / 'validate.txt'}; page: {folder / 'validate.html'}")
    raise typer.Exit(record.exit_code if record.exit_code is not None else BUG)


def numbers(text: str) -> tuple[int, int]:
    """``3-5`` as (3, 5), ``3`` as (3, 3), and nothing as (1, 0): all.

    Raises:
        UserError: it is neither.
    """
    if not text:
        return 1, 0
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None:
        raise UserError(f"--patches {text}: not a range of numbers", hint="For example --patches 1-4.")
    return int(match[1]), int(match[2] or match[1])


def b4_check() -> None:
    """Answer b4 with what a validation said of a mail.

    The mail is read on standard input; the newest validation that has it counts.

    For b4's review:

    [bold]git config b4.review-perpatch-check-cmd "evh b4-check"[/bold]
    [bold]git config b4.review-series-check-cmd "evh b4-check"[/bold]
    """
    import json

    from harness.store.artifacts import Store
    from harness.validate.b4 import check

    if sys.stdin.isatty():
        raise UserError("no mail on standard input", hint="evh b4-check <0001-some.patch")
    print(json.dumps(check(sys.stdin.buffer.read(), store=Store()), indent=1))


def bisect(
    tree: Annotated[
        Path,
        typer.Option("--tree", metavar="PATH", help="A clone of Xen or Linux; it is not changed."),
    ],
    good: Annotated[str, typer.Option("--good", metavar="COMMIT", help="A commit where the cell passes.")],
    bad: Annotated[str, typer.Option("--bad", metavar="COMMIT", help="A later one where it does not.")],
    cell: Annotated[str, typer.Option("--cell", metavar="ID", help="The cell, as a failure prints it.")],
    repeat: Annotated[
        int,
        typer.Option("--repeat", min=1, metavar="N", help="Run it N times on a commit where it passes."),
    ] = 1,
    sandbox: SandboxOption = True,
    accel: AccelOption = Accel.AUTO,
    jobs: JobsOption = None,
) -> None:
    """Find the commit of a Xen or a Linux tree that broke a cell.

    Commits that do not build, or on which the cell cannot be run, are skipped. With --repeat, the end says
    how sure the answer is.

    [bold]evh bisect --tree ~/src/xen --good RELEASE-4.20.3 --bad staging-4.20 --cell ID[/bold]
    """
    from harness.store.artifacts import Store
    from harness.validate.bisect import bisect_tree

    store = Store()
    with make_progress() as progress, store.in_use(say=progress.say):
        answer = bisect_tree(
            tree, good, bad, cell=cell, repeat=repeat, confined=sandbox, accelerator=accel, jobs=jobs,
            store=store, progress=progress, say=lambda text: print(printable(text), flush=True),
        )  # fmt: skip
    if not answer.first_bad:
        print("only commits that had to be skipped are left; the first bad one is among:")
        print("\n".join(f"  {commit}" for commit in answer.among))
        raise typer.Exit(6)
    print(f"first bad commit: {answer.first_bad[:12]} {printable(answer.subject)}")
    print(f"confidence: {answer.confidence:.4f}, from {len(answer.tried)} commits")
    culprit = answer.first_bad[:12]
    print(f"again: evh bisect --tree {tree} --good {culprit}~ --bad {culprit} --cell '{cell}'")
