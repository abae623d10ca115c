# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that run cells and report results: ``run``, ``repro``, ``report``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from harness.cli.options import (
    BUG,
    AbiOption,
    Accel,
    AccelOption,
    ConnectOption,
    Dom0ArgsOption,
    EstimatesOption,
    FilesArgument,
    FlavourOption,
    GuestOption,
    JobsOption,
    KeywordOption,
    KnownIssuesOption,
    LinuxConfigOption,
    LinuxTreeOption,
    MinutesOption,
    PlanOption,
    RunDirOption,
    SeedsOption,
    ShardOption,
    SnapshotsOption,
    StockOption,
    SuiteOption,
    WithSeriesOption,
    XenArgsOption,
    XenConfigOption,
    XenTreeOption,
    XtfOption,
    checked_trees,
    known_issues,
    make_progress,
    newest_run,
    quarantine,
    sharding,
    tell,
)
from harness.core.errors import EvhError, UserError
from harness.core.paths import RUNS
from harness.core.records import Trees, Verdict
from harness.plan.estimates import Estimates
from harness.plan.selection import select
from harness.plan.suites import SUITES

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.run.record import RunRecord
    from harness.run.request import RunRequest


# typer prints each paragraph of an epilog on a line of its own.
SUITE_LIST = "\n\n".join(["Suites:", *(f"[bold]{s.name}[/bold]: {s.text}" for s in SUITES.values())])


def run(
    files: FilesArgument = None,
    suite: SuiteOption = None,
    guest: GuestOption = None,
    abi: AbiOption = None,
    seeds: SeedsOption = "",
    flavour: FlavourOption = "",
    xtf: XtfOption = None,
    minutes: MinutesOption = 0,
    keyword: KeywordOption = "",
    cell: Annotated[
        str, typer.Option("--cell", metavar="ID", help="Only the cell with this ID, as a failure prints it.")
    ] = "",
    accel: AccelOption = Accel.AUTO,
    connect: ConnectOption = None,
    xen: Annotated[
        list[str] | None,
        typer.Option(
            "--xen",
            metavar="BASE",
            help="This version of Xen (`evh bases` lists them). May be repeated: one run for each pair.",
        ),
    ] = None,
    linux: Annotated[
        list[str] | None,
        typer.Option("--linux", metavar="BASE", help="This version of Linux. May be repeated."),
    ] = None,
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    stock: StockOption = False,
    with_series: WithSeriesOption = False,
    xen_config: XenConfigOption = None,
    linux_config: LinuxConfigOption = None,
    xen_args: XenArgsOption = "",
    dom0_args: Dom0ArgsOption = "",
    jobs: JobsOption = None,
    run_dir: RunDirOption = None,
    known: KnownIssuesOption = None,
    shard: ShardOption = "",
    estimates: EstimatesOption = None,
    plan: PlanOption = None,
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            metavar="N|auto",
            help="Run cells side by side, in N processes; auto: as many as cores and memory allow.",
        ),
    ] = "1",
    snapshots: SnapshotsOption = False,
    shuffle: Annotated[
        int | None,
        typer.Option(
            "--shuffle",
            min=0,
            metavar="SEED",
            help="Run the cells in a random order (default: those that share a machine follow each other).",
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Stop at the first test that does not pass and keep its machine up for `evh shell`.",
        ),
    ] = False,
) -> None:
    """Build, boot, test, and print the verdicts.

    [bold]evh run[/bold]                              the same as `make run`
    [bold]evh run --suite smoke --abi fifo[/bold]     the smoke suite's FIFO cells
    [bold]evh run --suite race --seeds 1-50[/bold]    the race suite with fifty seeds
    [bold]evh run --flavour ubsan --suite abuse[/bold]   with a Xen that reports undefined behaviour
    [bold]evh run --suite limits --shard 1/3[/bold]   a third of the suite (docs/ci.md)
    [bold]evh run --suite limits --workers auto[/bold]   cells side by side
    [bold]evh run my_test.py[/bold]                   your own tests
    [bold]evh run --xen-tree ~/xen --suite smoke[/bold]   your own Xen: what it has is tested
    """
    from harness.dev.matrix import pairs, run_pairs
    from harness.run.request import RunRequest

    part, known_times, given = sharding(shard, estimates, plan)
    if xtf and xen_args:
        raise UserError(
            "--xen-args is not for XTF, whose tests bring their own words", hint="Leave out one of the two."
        )
    trees = checked_trees(
        Trees(
            xen_tree=xen_tree,
            linux_tree=linux_tree,
            stock=stock,
            with_series=with_series,
            xen_config=tuple(xen_config or ()),
            linux_config=tuple(linux_config or ()),
        )
    )
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
        xen_args=xen_args,
        dom0_args=dom0_args,
        jobs=jobs,
        run_dir=run_dir,
        known=known_issues(known),
        quarantine=quarantine(known),
        snapshots=snapshots,
        shuffle=shuffle,
        keep=keep,
        shard=part,
        estimates=known_times,
        estimates_from=estimates and estimates.resolve(),
        plan=given,
        plan_from=plan and plan.resolve(),
        command=("evh", *sys.argv[1:]),
    )
    chosen = pairs(trees, xens=xen or (), linuxes=linux or (), cell=request.selection.cell)
    with make_progress() as progress:
        done = run_pairs(
            request, chosen, progress=progress, show=_tell, run_one=_runner(workers, known=known)
        )
    worst = max((record for _, record in done), key=_severity)
    raise typer.Exit(worst.exit_code if worst.exit_code is not None else BUG)


def _severity(record: RunRecord) -> tuple[int, int]:
    """The order of runs by how bad they ended: an interrupted one last, then by verdict."""
    order = list(Verdict)
    verdict = record.verdict or Verdict.ERROR
    return int(record.state == "interrupted"), order.index(verdict)


def _tell(folder: Path, record: RunRecord) -> None:
    """Print a run's error, if it ended by one, and its report."""
    if record.error is not None:
        tell(EvhError(record.error.message, hint=record.error.hint))
    _show(folder, record)


def _runner(workers: str, *, known: Path | None) -> Callable[..., tuple[Path, RunRecord]]:
    """The function that runs one request, in this process or by workers."""
    from harness.run.run import run as do_run

    return do_run if workers == "1" else partial(_side_by_side, workers=workers, known=known)


def _side_by_side(
    request: RunRequest, *, workers: str, known: Path | None, progress: Progress
) -> tuple[Path, RunRecord]:
    """Run by several workers; if only one fits, in this process."""
    from harness.fleet.fitting import count_of
    from harness.fleet.workers import run_side_by_side
    from harness.history.estimates import read_estimates
    from harness.run.collect import collect
    from harness.run.request import reproduce
    from harness.run.run import run as do_run

    for option, given in (("--keep", request.keep), ("--shard", request.shard)):
        if given:
            raise UserError(f"--workers and {option} together", hint="Leave out one of them.")
    estimates = read_estimates(RUNS)[0] if RUNS.is_dir() else Estimates()
    plan = collect(replace(request, estimates=estimates), progress=progress)
    count = count_of(workers, plan)
    if count == 1:
        return do_run(request, progress=progress)
    words = shlex.split(reproduce(request))[2:]
    extra = ["--known-issues", str(known)] if known else []
    extra += ["--jobs", str(request.jobs)] if request.jobs else []
    return run_side_by_side(
        [*extra, *words], plan, workers=count, run_dir=request.run_dir, command=request.command,
        reproduce=f"{reproduce(request)} --workers {workers}", progress=progress,
    )  # fmt: skip


def tell_run(folder: Path, record: RunRecord) -> NoReturn:
    """Print a run's report and exit with the run's exit code."""
    _tell(folder, record)
    raise typer.Exit(record.exit_code if record.exit_code is not None else BUG)


def _show(folder: Path, record: RunRecord) -> None:
    """Print a run's report, then write its page.

    A full disk takes away neither the verdict nor its exit code: what could not be written is said.
    """
    from harness.report.html import write_html
    from harness.report.junit import write_junit
    from harness.report.text import print_report

    try:
        print_report(folder, record, file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        verdict = record.verdict or record.state
        print(f"evh: the report cannot be printed ({error}); the verdict is: {verdict}", file=sys.stderr)
    for what, write in (("page", write_html), ("JUnit file", write_junit)):
        try:
            write(folder, record)
        except OSError as error:
            print(f"evh: note: the {what} was not written: {error}", file=sys.stderr)


def repro(
    cell: Annotated[str, typer.Argument(metavar="ID", help="ID of a cell, as a failure prints it.")],
    where: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Run folder (default: the newest run with this cell)."),
    ] = None,
    gdb: Annotated[
        bool,
        typer.Option("--gdb", help="Debug it in gdb, with the symbols of Xen and the bare guest."),
    ] = False,
    gdb_command: Annotated[
        list[str] | None,
        typer.Option(
            "--gdb-command",
            metavar="COMMAND",
            help="With --gdb: run this gdb command and exit; needs no terminal. May be repeated.",
        ),
    ] = None,
) -> None:
    """Run one cell of an earlier run again, on the same build of Xen.

    A deterministic cell (the race and abuse suites, which count instructions) must give a
    bit-identical console; this is checked.

    [bold]evh repro ID[/bold]                         run the cell again
    [bold]evh repro ID --gdb[/bold]                   run it in gdb (docs/repro.md)
    """
    from harness.dev.repro import repro as do_repro
    from harness.dev.repro import repro_in_gdb

    if gdb_command and not gdb:
        raise UserError("--gdb-command needs --gdb", hint="Add --gdb.")
    with make_progress() as progress:
        if gdb:
            code = repro_in_gdb(cell, where=where, progress=progress, commands=gdb_command or ())
            raise typer.Exit(code)
        folder, record = do_repro(cell, where=where, progress=progress)
    tell_run(folder, record)


def report(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Run folder (default: the newest under ./runs)."),
    ] = None,
) -> None:
    """Print a run's report and rewrite its HTML page and its JUnit file."""
    from harness.run.record import load

    folder, record = load(run or newest_run())
    _show(folder, record)

