# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that spread cells over hosts and bring the results together: ``plan`` and ``merge``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    AbiOption,
    EstimatesOption,
    FilesArgument,
    FlavourOption,
    GuestOption,
    KeywordOption,
    LinuxOption,
    LinuxTreeOption,
    MinutesOption,
    RunDirOption,
    SeedsOption,
    ShardOption,
    SuiteOption,
    XenOption,
    XenTreeOption,
    XtfOption,
    checked_trees,
    make_progress,
)
from harness.core.paths import RUNS
from harness.core.records import Trees
from harness.plan.estimates import Estimates
from harness.plan.selection import select
from harness.plan.shards import MOST_SHARDS, parse_shard


def plan(
    files: FilesArgument = None,
    suite: SuiteOption = None,
    guest: GuestOption = None,
    abi: AbiOption = None,
    seeds: SeedsOption = "",
    flavour: FlavourOption = "",
    xtf: XtfOption = None,
    minutes: MinutesOption = 0,
    keyword: KeywordOption = "",
    shard: ShardOption = "",
    shards: Annotated[
        int,
        typer.Option(
            "--shards", min=1, max=MOST_SHARDS, metavar="N", help="Cut into N parts, and list all."
        ),
    ] = 1,
    estimates: EstimatesOption = None,
    xen: XenOption = "",
    linux: LinuxOption = "",
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the cells that `evh run` would run, with the time, memory and cores that each is expected to need.

    The estimates come from earlier runs: those under ./runs, or --estimates. A cell that never ran gets
    those of its other seeds and flavours, or else a guess. Nothing is booted, and nothing is built but XTF.

    [bold]evh plan --suite limits[/bold]              the cells of a suite
    [bold]evh plan --suite race --seeds 1-50 --shards 3[/bold]   cut into three
    [bold]evh plan --json > plan.json[/bold]          for evh run --estimates, and evh merge --plan
    """
    import msgspec

    from harness.core.errors import UserError
    from harness.history.estimates import read_estimates
    from harness.history.plantext import print_plan
    from harness.run.collect import collect
    from harness.run.request import RunRequest

    part = parse_shard(shard) if shard else None
    if part and shards > 1:
        raise UserError("--shard and --shards together", hint="--shard I/N lists one part, --shards N all.")
    # As `evh run --shard`, which must not depend on what this host happens to have run.
    where = estimates or (None if part or shards > 1 or not RUNS.is_dir() else RUNS)
    known, said = Estimates(), "estimates: guesses; --estimates names earlier runs"
    if where:
        known, said = read_estimates(where)
    request = RunRequest(
        selection=select(
            suites=suite or (), files=files or (), guests=guest or (), abis=abi or (), keyword=keyword,
            seeds=seeds, flavour=flavour, xtf=xtf and xtf.resolve(), minutes=minutes,
        ),
        # They are in the ids of the cells.
        trees=checked_trees(Trees(xen=xen, linux=linux, xen_tree=xen_tree, linux_tree=linux_tree)),
        shard=part,
        estimates=known,
    )  # fmt: skip
    with make_progress() as progress:
        found = collect(request, progress=progress, count=shards)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        print_plan(found, said, file=sys.stdout)
    raise typer.Exit(0 if found.cells else 6)


def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    plans: Annotated[
        list[Path] | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="A plan (evh plan --json) whose cells must all be there. May be repeated.",
        ),
    ] = None,
    run_dir: RunDirOption = None,
) -> None:
    """Make one run of many: the shards of a plan, or runs of different suites and flavours.

    A shard that is missing, was cut short or ran other artifacts makes the result red, and is named. The
    merged run is a run folder like any other, with everything that its parts recorded.

    [bold]evh merge shard-*[/bold]                    the folders of `evh run --shard I/N`
    [bold]evh merge --plan plan.json shard-*[/bold]   and make sure that no part of the plan is missing
    """
    from harness.cli.run import tell_run
    from harness.history.merge import merge as do_merge
    from harness.run.planning import load_plan

    folder, record = do_merge(runs, plans={path: load_plan(path) for path in plans or ()}, run_dir=run_dir)
    tell_run(folder, record)
