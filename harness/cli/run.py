# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that run cells and show what came of them: run, repro, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli.options import (
    BUG,
    Accel,
    AccelOption,
    ConnectOption,
    FlavourOption,
    JobsOption,
    LinuxTreeOption,
    RunDirOption,
    XenTreeOption,
    checked_trees,
    make_progress,
    tell,
)
from harness.core.errors import EvhError, UserError
from harness.core.records import Abi
from harness.plan.guests import GUESTS
from harness.plan.selection import select
from harness.plan.suites import SUITES

if TYPE_CHECKING:
    from harness.run.record import RunRecord


# Commands.


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Your own pytest files (docs/writing-tests.md)."),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            metavar="NAME",
            help="; ".join(f"[bold]{s.name}[/bold]: {s.text}" for s in SUITES.values()),
        ),
    ] = None,
    guest: Annotated[
        list[str] | None,
        typer.Option(
            "--guest",
            metavar="|".join(GUESTS),
            help="Only cells of this guest. May be repeated.",
        ),
    ] = None,
    abi: Annotated[
        list[str] | None,
        typer.Option("--abi", metavar="|".join(Abi), help="Only cells of this ABI. May be repeated."),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            "--seed",
            "--seeds",
            metavar="N|A-B",
            help="What tests that draw from a seed draw from: each with each. Without it: 1.",
        ),
    ] = "",
    flavour: FlavourOption = "",
    xtf: Annotated[
        Path | None,
        typer.Option("--xtf", metavar="PATH", help="A checkout of XTF: its PV tests, built and run too."),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0, metavar="M", help="How long each storm of the stress suite lasts."),
    ] = 0,
    keyword: Annotated[
        str,
        typer.Option("-k", metavar="EXPRESSION", help="Only tests whose names match, as in pytest."),
    ] = "",
    cell: Annotated[
        str, typer.Option("--cell", metavar="ID", help="This one cell; a failure prints its id.")
    ] = "",
    accel: AccelOption = Accel.AUTO,
    connect: ConnectOption = None,
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    jobs: JobsOption = None,
    run_dir: RunDirOption = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Stop at the first test that does not pass and leave its machine up, for `evh shell`.",
        ),
    ] = False,
) -> None:
    """Build, boot, test, and print the verdicts.

    [bold]evh run[/bold]                              what `make run` does
    [bold]evh run --suite smoke --abi fifo[/bold]     the smoke suite's FIFO cells
    [bold]evh run --suite race --seeds 1-50[/bold]    the race suite, fifty times otherwise
    [bold]evh run --flavour ubsan --suite abuse[/bold]   on a Xen that reports undefined behaviour
    [bold]evh run my_test.py[/bold]                   your own test
    [bold]evh run --xen-tree ~/xen -k raw[/bold]      your own Xen, raw tests
    """
    from harness.run.run import RunRequest
    from harness.run.run import run as do_run

    request = RunRequest(
        selection=select(
            suites=suite or (),
            files=files or (),
            guests=guest or (),
            abis=abi or (),
            keyword=keyword,
            cell=cell,
            seeds=seeds,
            flavour=flavour,
            xtf=xtf and xtf.resolve(),
            minutes=minutes,
        ),
        accelerator=accel,
        uri=connect,
        jobs=jobs,
        run_dir=run_dir,
        keep=keep,
        command=("evh", *sys.argv[1:]),
        **checked_trees(xen_tree, linux_tree),
    )
    with make_progress() as progress:
        folder, record = do_run(request, progress=progress)
    _tell_run(folder, record)


def _tell_run(folder: Path, record: RunRecord) -> NoReturn:
    """A run's tables and page; its exit code is ours."""
    from harness.report.html import write_html
    from harness.report.text import print_report

    write_html(folder, record)
    if record.error is not None:
        tell(EvhError(record.error.message, hint=record.error.hint))
    print_report(folder, record, file=sys.stdout)
    raise typer.Exit(record.exit_code if record.exit_code is not None else BUG)


def repro(
    cell: Annotated[str, typer.Argument(metavar="ID", help="A cell's id, as a verdict prints it.")],
    where: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Run folder. Without it: the newest that has the cell."),
    ] = None,
    gdb: Annotated[
        bool,
        typer.Option("--gdb", help="Open gdb on it, with the symbols of Xen and of the bare guest."),
    ] = False,
    gdb_command: Annotated[
        list[str] | None,
        typer.Option(
            "--gdb-command",
            metavar="COMMAND",
            help="With --gdb: run this, and end; no terminal is needed. May be repeated.",
        ),
    ] = None,
) -> None:
    """Replay one cell of an earlier run, with the very Xen that it ran on.

    A cell that counts instructions (the race and abuse suites) gives the same console bit by bit;
    that is checked.

    [bold]evh repro ID[/bold]                         again
    [bold]evh repro ID --gdb[/bold]                   the same, in gdb (docs/repro.md)
    """
    from harness.dev.repro import repro as do_repro
    from harness.dev.repro import repro_in_gdb

    if gdb_command and not gdb:
        raise UserError("--gdb-command is for --gdb", hint="Add --gdb.")
    with make_progress() as progress:
        if gdb:
            code = repro_in_gdb(cell, where=where, progress=progress, commands=gdb_command or ())
            raise typer.Exit(code)
        folder, record = do_repro(cell, where=where, progress=progress)
    _tell_run(folder, record)


def report(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder. Without it: the newest under ./runs."),
    ] = None,
) -> None:
    """Print a run's tables again, and write its HTML page anew."""
    from harness.report.html import write_html
    from harness.report.text import print_report
    from harness.run.record import RUN_JSON, load

    if run is None:
        found = sorted(Path("runs").glob(f"*/{RUN_JSON}"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise UserError(
                "there is no run under ./runs yet", hint="evh run makes one; or name a run folder."
            )
        run = found[-1]
    folder, record = load(run)
    write_html(folder, record)
    print_report(folder, record, file=sys.stdout)

