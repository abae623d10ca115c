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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Show the disk space that the store and the run folders use, and remove them.

    Folders of runs that are still active stay, and so does the store while anything uses it.
    """
    from harness.dev.clean import is_run_dir, size_of, under_way, unused
    from harness.store.artifacts import Store

    folders = [path for path in sorted(Path("runs").glob("*")) if is_run_dir(path)]
    with ExitStack() as stack:
        doomed: list[Path] = []
        if store and (root := Store().root).is_dir():
            stack.enter_context(unused(root))
            doomed += [path for path in sorted(root.iterdir()) if path.name != IN_USE]
        if runs:
            doomed += [path for path in folders if not under_way(path)]
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
