# SPDX-License-Identifier: GPL-2.0-or-later
"""What `evh run` was asked to do, and the commands that repeat it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.text import show_seeds
from harness.monitor.knownissues import KnownIssue
from harness.plan.estimates import Estimates
from harness.plan.flavours import RELEASE
from harness.plan.selection import Selection
from harness.plan.shards import Shard
from harness.plan.suites import CORE


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The options of one `evh run`.

    Attributes:
        accelerator: ``auto``, ``kvm`` or ``tcg``.
        uri: libvirt's connection URI; None for its embedded driver.
        xen_tree, linux_tree: source trees to build instead of the pristine ones with patches.
        jobs: parallel compiler jobs; None for all cores.
        run_dir: None makes a new folder under ``./runs``.
        known: crashes to pass over.
        keep: stop at the first test that does not pass and keep its machine
            running until Ctrl-C.
        shard: run only this part of the selection.
        estimates: what earlier runs say about cells, which decides what is in a shard.
        estimates_from: where they come from, for the command that repeats this run.
        command: the command line, for run.json.
    """

    selection: Selection
    accelerator: str = "auto"
    uri: str | None = None
    xen_tree: Path | None = None
    linux_tree: Path | None = None
    jobs: int | None = None
    run_dir: Path | None = None
    known: tuple[KnownIssue, ...] = ()
    keep: bool = False
    shard: Shard | None = None
    estimates: Estimates = field(default_factory=Estimates)
    estimates_from: Path | None = None
    command: tuple[str, ...] = ()


def reproduce(request: RunRequest) -> str:
    """The command that repeats this run, from the same directory."""
    words = ["evh", "run"]
    selection = request.selection
    if selection.cell is not None:
        words += ["--cell", selection.cell.id]
    else:
        if selection.suites != (CORE,):
            words += [w for name in selection.suites for w in ("--suite", name)]
        words += ["--seeds", show_seeds(selection.seeds)] if selection.seeds else []
        words += ["--minutes", f"{selection.minutes:g}"] if selection.minutes else []
        words += ["--flavour", selection.flavour] if selection.flavour != RELEASE else []
    words += [w for name in selection.guests for w in ("--guest", name)]
    words += [w for abi in selection.abis for w in ("--abi", str(abi))]
    words += ["-k", selection.keyword] if selection.keyword else []
    words += ["--accel", request.accelerator] if request.accelerator != "auto" else []
    words += ["--connect", request.uri] if request.uri else []
    words += ["--xen-tree", str(request.xen_tree)] if request.xen_tree else []
    words += ["--linux-tree", str(request.linux_tree)] if request.linux_tree else []
    words += ["--xtf", str(selection.xtf)] if selection.xtf else []
    words += ["--shard", str(request.shard)] if request.shard else []
    words += ["--estimates", str(request.estimates_from)] if request.estimates_from else []
    words += selection.files
    return shlex.join(words)


def options(request: RunRequest) -> dict[str, str]:
    """The options that `evh repro` needs beside the cell's id; only those that were given."""
    words = {
        "accel": request.accelerator if request.accelerator != "auto" else "",
        "connect": request.uri or "",
        "xen_tree": str(request.xen_tree or ""),
        "linux_tree": str(request.linux_tree or ""),
        "xtf": str(request.selection.xtf or ""),
        "minutes": f"{request.selection.minutes:g}" if request.selection.minutes else "",
    }
    return {name: word for name, word in words.items() if word}


def again(run_dir: Path) -> str:
    """The command that replays a cell of this run, up to the cell's id."""
    default = run_dir.parent == Path("runs").resolve()
    return "evh repro" if default else f"evh repro --run {shlex.quote(str(run_dir))}"
