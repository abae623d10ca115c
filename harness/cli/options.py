# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share, and the printing of errors."""

from __future__ import annotations

import enum
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.core.errors import EvhError, UserError
from harness.core.records import Abi, Trees
from harness.core.text import printable
from harness.monitor.knownissues import FILE, KnownIssue, Quarantine, load, load_quarantine
from harness.plan.estimates import Estimates
from harness.plan.flavours import FLAVOURS
from harness.plan.guests import GUESTS
from harness.plan.shards import Shard, parse_shard

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.run.planning import Plan


class Accel(enum.StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


FilesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="Your own pytest files (docs/writing-tests.md)."),
]
SuiteOption = Annotated[
    list[str] | None,
    typer.Option(
        "--suite",
        metavar="NAME",
        help="A named set of cells (see the list below). May be repeated.",
    ),
]
GuestOption = Annotated[
    list[str] | None,
    typer.Option(
        "--guest",
        metavar="KIND",
        help=f"Only cells of this guest: {', '.join(GUESTS)}. May be repeated.",
    ),
]
AbiOption = Annotated[
    list[str] | None,
    typer.Option("--abi", metavar="|".join(Abi), help="Only cells of this ABI. May be repeated."),
]
SeedsOption = Annotated[
    str,
    typer.Option(
        "--seed",
        "--seeds",
        metavar="N|A-B",
        help="Seeds for randomized tests; each test runs once per seed (default: 1).",
    ),
]
XtfOption = Annotated[
    Path | None,
    typer.Option("--xtf", metavar="PATH", help="Also build and run the tests of this XTF checkout."),
]
MinutesOption = Annotated[
    float,
    typer.Option(
        "--minutes",
        min=0,
        metavar="M",
        help="Minutes for each storm in the stress suite; 0: a few seconds.",
    ),
]
KeywordOption = Annotated[
    str,
    typer.Option("-k", metavar="EXPRESSION", help="Only tests whose names match, as pytest's -k."),
]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only part I of N, cut by estimated time. Without --estimates the cut depends on the selection "
        "alone, so that it is the same on every host.",
    ),
]
EstimatesOption = Annotated[
    Path | None,
    typer.Option(
        "--estimates",
        metavar="PATH",
        help="Earlier runs to estimate times from: a folder of runs, or a file of `evh plan --json`.",
    ),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="With --shard: run what this plan (evh plan --shards N --json) gives to the shard.",
    ),
]
AccelOption = Annotated[
    Accel,
    typer.Option(
        "--accel",
        help="QEMU's accelerator. [bold]auto[/bold] uses KVM only if it runs nested Xen in a trial boot.",
    ),
]
ConnectOption = Annotated[
    str | None,
    typer.Option(
        "--connect",
        metavar="URI",
        help="libvirt URI, e.g. qemu:///system or qemu+ssh://host/system (default: this host, no daemon).",
    ),
]
XenOption = Annotated[
    str,
    typer.Option("--xen", metavar="BASE", help="Build this version of Xen (`evh bases` lists them)."),
]
LinuxOption = Annotated[
    str,
    typer.Option("--linux", metavar="BASE", help="Build this version of Linux (`evh bases` lists them)."),
]
XenTreeOption = Annotated[
    Path | None,
    typer.Option(
        "--xen-tree",
        metavar="PATH",
        help="Build your own Xen tree instead of the pristine source with the patch series.",
    ),
]
LinuxTreeOption = Annotated[
    Path | None,
    typer.Option(
        "--linux-tree",
        metavar="PATH",
        help="Build your own Linux tree instead of the pristine source with the patch series.",
    ),
]
StockOption = Annotated[
    bool,
    typer.Option(
        "--stock", help="Build without the two patch series; tests of what only they add are skipped."
    ),
]
WithSeriesOption = Annotated[
    bool, typer.Option("--with-series", help="Apply the patch series to your own tree before it is built.")
]
XenConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--xen-config",
        metavar="FRAGMENT",
        help="Kconfig lines for Xen; they override those of the base. May be repeated.",
    ),
]
LinuxConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--linux-config",
        metavar="FRAGMENT",
        help="Kconfig lines for Linux (dom0 and guests); they override those of the base. May be repeated.",
    ),
]
XenArgsOption = Annotated[
    str, typer.Option("--xen-args", metavar="WORDS", help="Add words to Xen's command line.")
]
Dom0ArgsOption = Annotated[
    str,
    typer.Option("--dom0-args", metavar="WORDS", help="Add words to the command line of dom0's kernel."),
]
FlavourOption = Annotated[
    str,
    typer.Option(
        "--flavour",
        metavar="|".join(FLAVOURS),
        help="Build flavour. Xen: [bold]debug[/bold] enables assertions, [bold]ubsan[/bold] checks for "
        "undefined behaviour, [bold]coverage[/bold] counts executed lines. Linux: [bold]linux-debug[/bold], "
        "[bold]linux-kasan[/bold] (docs/repro.md).",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, metavar="N", help="Parallel compiler processes (default: one per core)."
    ),
]
SnapshotsOption = Annotated[
    bool,
    typer.Option(
        "--snapshots/--no-snapshots",
        help="Restore machines that were saved after an earlier boot, and save those that are booted "
        "(default: boot each; docs/snapshots.md).",
    ),
]
KnownIssuesOption = Annotated[
    Path | None,
    typer.Option(
        "--known-issues",
        metavar="FILE",
        help="Crash lines to pass over and count, and flaky cells (default: known-issues.toml here, if there "
        "is one; docs/verdicts.md).",
    ),
]
RunDirOption = Annotated[
    Path | None,
    typer.Option(
        "--run-dir",
        metavar="PATH",
        help="Folder for consoles and results (default: a new one under ./runs).",
    ),
]


def make_progress() -> Progress:
    from harness.core.progress import Progress

    return Progress()


def known_issues(given: Path | None) -> tuple[KnownIssue, ...]:
    """The entries of the file that was given, or of the one in the current folder.

    Raises:
        UserError: the file cannot be read, or an entry is not valid.
    """
    path = given or Path(FILE)
    return load(path) if given or path.exists() else ()


def quarantine(given: Path | None) -> tuple[Quarantine, ...]:
    """The cells in quarantine, of the same file.

    Raises:
        UserError: the file cannot be read, or an entry is not valid.
    """
    path = given or Path(FILE)
    return load_quarantine(path) if given or path.exists() else ()


def newest_run() -> Path:
    """The run.json under ./runs that was written last.

    Raises:
        UserError: there is none.
    """
    found = sorted(Path("runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            "there is no run under ./runs yet", hint="Start one with evh run, or name a run folder."
        )
    return found[-1]


def checked_trees(trees: Trees) -> Trees:
    """What was given, with absolute paths.

    Raises:
        UserError: a path is no folder, not the top folder of a Xen or Linux tree, or no file;
            or options contradict each other.
    """
    for option, path, sign in (
        ("--xen-tree", trees.xen_tree, "xen/common"),
        ("--linux-tree", trees.linux_tree, "kernel/sched"),
    ):
        if path is not None and not path.is_dir():
            raise UserError(f"{option} {path}: no such folder", hint="Name the top folder of a source tree.")
        if path is not None and not (path / sign).is_dir():
            raise UserError(
                f"{option} {path} is not such a source tree: it has no {sign}",
                hint="Name the top folder of a source tree.",
            )
    for option, fragments in (("--xen-config", trees.xen_config), ("--linux-config", trees.linux_config)):
        for path in fragments:
            if not path.is_file():
                raise UserError(f"{option} {path}: not a regular file", hint="Name one of Kconfig lines.")
    if trees.with_series and not (trees.xen_tree or trees.linux_tree):
        raise UserError("--with-series is about a tree of your own", hint="Add --xen-tree or --linux-tree.")
    if trees.with_series and trees.stock:
        raise UserError("--with-series and --stock contradict each other", hint="Leave out one of them.")
    return replace(
        trees,
        xen_tree=trees.xen_tree and trees.xen_tree.resolve(),
        linux_tree=trees.linux_tree and trees.linux_tree.resolve(),
        xen_config=tuple(path.resolve() for path in trees.xen_config),
        linux_config=tuple(path.resolve() for path in trees.linux_config),
    )


def sharding(
    shard: str, estimates: Path | None, plan: Path | None
) -> tuple[Shard | None, Estimates, Plan | None]:
    """The part of a plan to run, the estimates by which it is cut, and the plan if it is cut already.

    Raises:
        UserError: the part is not one, estimates or a plan are given for nothing, or cannot be read.
    """
    if not shard:
        for option, given in (("--estimates", estimates), ("--plan", plan)):
            if given is not None:
                raise UserError(f"{option} needs --shard", hint=f"{option} decides what is in a shard.")
        return None, Estimates(), None
    if plan is not None and estimates is not None:
        raise UserError("--plan and --estimates together", hint="The plan is cut already.")
    from harness.history.estimates import read_estimates
    from harness.run.planning import load_plan, shard_of

    part = parse_shard(shard)
    if plan is not None:
        return part, Estimates(), shard_of(load_plan(plan), part, path=plan)
    return part, read_estimates(estimates)[0] if estimates else Estimates(), None


BUG = 4  # exit code of errors in the harness or host


def tell(error: EvhError) -> None:
    """Print an error on stderr: its message, which may quote a console, then the hint."""
    print(printable(f"evh: {error.message}"), file=sys.stderr)
    if error.hint:
        print(printable(f"hint: {error.hint}"), file=sys.stderr)
