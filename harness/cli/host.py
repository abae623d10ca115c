# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands ``doctor`` and ``clean``, which concern this host."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BUG
from harness.core.errors import UserError
from harness.core.locks import IN_USE


def doctor() -> None:
    """Check whether this host has what a run needs, and say how to get what is missing."""
    from harness.dev.doctor import doctor as checks

    worst = 0
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    for check in checks():
        print(f"{marks.get(str(check.status), check.status)}  {check.name}: {check.text}")
        if check.next_step and check.status != "ok":
            print(f"      -> {check.next_step}")
        worst = max(worst, {"fail": 1}.get(str(check.status), 0))
    raise typer.Exit(BUG if worst else 0)


def clean(
    store: Annotated[bool, typer.Option("--store/--no-store", help="Remove downloads and builds.")] = True,
    runs: Annotated[bool, typer.Option("--runs/--no-runs", help="Remove run folders under ./runs.")] = True,
    keep_runs: Annotated[
        int | None, typer.Option("--keep-runs", min=0, metavar="N", help="Keep the newest N runs.")
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", min=0, metavar="D", help="Keep the runs of the last D days.")
    ] = None,
    keep_red: Annotated[
        bool, typer.Option("--keep-red", help="Keep runs whose verdict is neither pass nor skip.")
    ] = False,
    store_budget: Annotated[
        float | None,
        typer.Option(
            "--store-budget",
            min=0,
            metavar="GIB",
            help="Of the store remove only what exceeds this size: trees, object folders and builds, those "
            "used longest ago first; what a remaining run booted stays.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Show the disk space that the store and the run folders use, and remove them.

    Folders of runs that are still active stay, and so does the store while anything uses it. With a --keep
    option, runs that any of them keeps stay, and the store is left alone unless --store-budget is given.

    [bold]evh clean --keep-runs 30 --keep-days 14 --keep-red --store-budget 20 --yes[/bold]   for cron
    """
    from harness.dev.clean import is_run_dir, size_of, unused
    from harness.dev.retention import Keep, expired, keys_of_runs, over_budget
    from harness.store.artifacts import Store

    keep = Keep(runs=keep_runs, days=keep_days, red=keep_red)
    if keep.given and not runs:
        raise UserError("--no-runs keeps all runs", hint="Leave out --no-runs, or the --keep options.")
    if store_budget is not None and not store:
        raise UserError("--no-store keeps all of the store", hint="Leave out --no-store, or --store-budget.")
    folders = [path for path in sorted(Path("runs").glob("*")) if is_run_dir(path)]
    doomed = expired(folders, keep) if runs else []
    with ExitStack() as stack:
        root = Store().root
        if store and root.is_dir() and (store_budget is not None or not keep.given):
            stack.enter_context(unused(root))
            if store_budget is None:
                doomed += [path for path in sorted(root.iterdir()) if path.name != IN_USE]
            else:
                needed = keys_of_runs([path for path in folders if path not in doomed])
                gone, left = over_budget(root, round(store_budget * (1 << 30)), needed=needed)
                doomed += gone
                if left > store_budget * (1 << 30):
                    size = f"{left / (1 << 30):.1f} GiB"
                    print(f"evh: the store needs {size} for the runs that stay", file=sys.stderr)
        _remove({path: size_of(path) for path in doomed}, yes=yes)


def _remove(sizes: dict[Path, int], *, yes: bool) -> None:
    if not sizes:
        print("nothing to remove")
        return
    for path, size in sizes.items():
        print(f"{size / (1 << 20):10,.1f} MiB  {path}")
    print(f"{sum(sizes.values()) / (1 << 20):10,.1f} MiB  total")
    if not yes and not (sys.stdin.isatty() and typer.confirm("Remove them?")):
        print("nothing was removed; pass --yes to remove without confirmation", file=sys.stderr)
        return
    for path in sizes:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    print(f"removed {len(sizes)} folders and files")
