# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs on several pairs of a Xen and a Linux: one after the other, each in its own run folder and cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.build.recipes import pair_name
from harness.core.errors import UserError
from harness.core.records import Trees
from harness.plan.cells import Cell
from harness.run.record import RunRecord
from harness.run.request import RunRequest
from harness.run.run import run
from harness.source import bases

if TYPE_CHECKING:
    from harness.core.progress import Progress


def pairs(
    trees: Trees, *, xens: Sequence[str], linuxes: Sequence[str], cell: Cell | None = None
) -> tuple[Trees, ...]:
    """Each Xen with each Linux.

    Args:
        trees: everything but the bases.
        xens, linuxes: names of bases; empty: the default, or the one that the cell names.

    Raises:
        UserError: there is no such base, or one tree of the user's is to be several bases.
    """
    names: dict[str, tuple[str, ...]] = {}
    for component, given in (("xen", xens), ("linux", linuxes)):
        names[component] = tuple(dict.fromkeys(given)) or (_named_by(cell, component, trees),)
        for name in filter(None, names[component]):
            bases.named(component, name)
        if trees.tree(component) and len(names[component]) > 1:
            raise UserError(
                f"--{component}-tree is one tree, and --{component} names several bases",
                hint=f"Name the base whose series and configuration fit it, or leave out --{component}.",
            )
    chosen = tuple(replace(trees, xen=xen, linux=linux) for xen, linux in itertools.product(*names.values()))
    if cell is not None and len(chosen) > 1:
        raise UserError("--cell names one pair of bases", hint="Leave out --xen and --linux.")
    return chosen


def _named_by(cell: Cell | None, component: str, trees: Trees) -> str:
    """The base that a cell's id names, if no tree of the user's takes its place."""
    if cell is None or trees.tree(component):
        return ""
    names = cell.base.split("+")
    return next((base.folder.name for base in bases.every(component) if base.name in names), "")


def run_pairs(
    request: RunRequest,
    chosen: Sequence[Trees],
    *,
    progress: Progress,
    show: Callable[[Path, RunRecord], None],
    run_one: Callable[..., tuple[Path, RunRecord]] | None = None,
) -> list[tuple[Path, RunRecord]]:
    """Run on each pair.

    A pair that does not pass does not keep the others from being tested; a signal ends all of it.

    Args:
        show: called with each run as it ends.
        run_one: runs one request, as ``run`` does, which is the default.

    Returns:
        Run folder and record of each pair that was run.
    """
    done: list[tuple[Path, RunRecord]] = []
    for trees in chosen:
        name = pair_name(trees)
        if len(chosen) > 1:
            progress.say(f"pair {len(done) + 1} of {len(chosen)}: {name}")
        run_dir = request.run_dir and (request.run_dir / name if len(chosen) > 1 else request.run_dir)
        folder, record = (run_one or run)(replace(request, trees=trees, run_dir=run_dir), progress=progress)
        done.append((folder, record))
        show(folder, record)
        if record.state == "interrupted":
            break
    if len(chosen) > 1:
        for trees, (folder, record) in zip(chosen, done, strict=False):
            progress.say(f"{record.verdict}: {pair_name(trees)}  {folder}")
    return done
