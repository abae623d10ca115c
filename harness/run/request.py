# SPDX-License-Identifier: GPL-2.0-or-later
"""What `evh run` was asked to do, and the commands that repeat it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.records import DEFAULT_TREES, Trees
from harness.core.text import show_seeds
from harness.monitor.knownissues import KnownIssue, Quarantine
from harness.plan.estimates import Estimates
from harness.plan.flavours import RELEASE
from harness.plan.selection import Selection
from harness.plan.shards import Shard
from harness.plan.suites import CORE
from harness.run.planning import Plan


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The options of one `evh run`.

    Attributes:
        accelerator: ``auto``, ``kvm`` or ``tcg``.
        uri: libvirt's connection URI; None for its embedded driver.
        trees: which Xen and which Linux to build.
        xen_args, dom0_args: words of the command lines of every boot, in addition to a test's own.
        jobs: parallel compiler jobs; None for all cores.
        run_dir: None makes a new folder under ``./runs``.
        known: crashes to pass over.
        quarantine: flaky cells that may be red.
        snapshots: restore machines that were saved, and save those that are booted.
        shuffle: seed of a random order of the cells; None: those that share a machine follow each other.
        keep: stop at the first test that does not pass and keep its machine
            running until Ctrl-C.
        shard: run only this part of the selection.
        estimates: what earlier runs say about cells, which decides what is in a shard.
        estimates_from: where they come from, for the command that repeats this run.
        plan: run the cells that this plan gives to the shard, instead of cutting the selection.
        plan_from: the plan's file, for the command that repeats this run.
        command: the command line, for run.json.
    """

    selection: Selection
    accelerator: str = "auto"
    uri: str | None = None
    trees: Trees = DEFAULT_TREES
    xen_args: str = ""
    dom0_args: str = ""
    jobs: int | None = None
    run_dir: Path | None = None
    known: tuple[KnownIssue, ...] = ()
    quarantine: tuple[Quarantine, ...] = ()
    snapshots: bool = False
    shuffle: int | None = None
    keep: bool = False
    shard: Shard | None = None
    estimates: Estimates = field(default_factory=Estimates)
    estimates_from: Path | None = None
    plan: Plan | None = None
    plan_from: Path | None = None
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
    words += ["--snapshots"] if request.snapshots else []
    words += ["--shuffle", str(request.shuffle)] if request.shuffle is not None else []
    words += words_of(request)
    words += ["--xtf", str(selection.xtf)] if selection.xtf else []
    words += ["--shard", str(request.shard)] if request.shard else []
    words += ["--plan", str(request.plan_from)] if request.plan_from else []
    words += ["--estimates", str(request.estimates_from)] if request.estimates_from else []
    words += selection.files
    return shlex.join(words)


def words_of(request: RunRequest) -> list[str]:
    """The options that say what is built and booted, as on the command line."""
    trees = request.trees
    words: list[str] = []
    for name, value in (
        ("--xen", trees.xen),
        ("--linux", trees.linux),
        ("--xen-tree", trees.xen_tree),
        ("--linux-tree", trees.linux_tree),
        *(("--xen-config", path) for path in trees.xen_config),
        *(("--linux-config", path) for path in trees.linux_config),
    ):
        words += [name, str(value)] if value else []
    words += ["--stock"] if trees.stock else []
    words += ["--with-series"] if trees.with_series else []
    # With "=", since what follows may begin with a dash.
    words += [f"--xen-args={request.xen_args}"] if request.xen_args else []
    words += [f"--dom0-args={request.dom0_args}"] if request.dom0_args else []
    return words


# The entries of ``options`` that decide, with the bases, what is built.
BUILD_OPTIONS = ("xen_tree", "linux_tree", "stock", "with_series", "xen_config", "linux_config")


def options(request: RunRequest) -> dict[str, str]:
    """The options that `evh repro` needs beside the cell's id; only those that were given."""
    trees = request.trees
    words = {
        "accel": request.accelerator if request.accelerator != "auto" else "",
        "connect": request.uri or "",
        "snapshots": "yes" if request.snapshots else "",
        "xen": trees.xen,
        "linux": trees.linux,
        "xen_tree": str(trees.xen_tree or ""),
        "linux_tree": str(trees.linux_tree or ""),
        "stock": "yes" if trees.stock else "",
        "with_series": "yes" if trees.with_series else "",
        "xen_config": os.pathsep.join(map(str, trees.xen_config)),
        "linux_config": os.pathsep.join(map(str, trees.linux_config)),
        "xen_args": request.xen_args,
        "dom0_args": request.dom0_args,
        "xtf": str(request.selection.xtf or ""),
        "minutes": f"{request.selection.minutes:g}" if request.selection.minutes else "",
    }
    return {name: word for name, word in words.items() if word}


def trees_of(options: Mapping[str, str]) -> Trees:
    """The trees that ``options`` of an earlier run name."""

    def path(name: str) -> Path | None:
        return Path(options[name]) if options.get(name) else None

    def paths(name: str) -> tuple[Path, ...]:
        return tuple(map(Path, filter(None, options.get(name, "").split(os.pathsep))))

    return Trees(
        xen=options.get("xen", ""),
        linux=options.get("linux", ""),
        xen_tree=path("xen_tree"),
        linux_tree=path("linux_tree"),
        stock="stock" in options,
        with_series="with_series" in options,
        xen_config=paths("xen_config"),
        linux_config=paths("linux_config"),
    )


def again(run_dir: Path) -> str:
    """The command that replays a cell of this run, up to the cell's id."""
    default = run_dir.parent == Path("runs").resolve()
    return "evh repro" if default else f"evh repro --run {shlex.quote(str(run_dir))}"
