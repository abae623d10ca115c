# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands ``build``, ``boot`` and ``shell``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    Accel,
    AccelOption,
    ConnectOption,
    Dom0ArgsOption,
    FlavourOption,
    JobsOption,
    LinuxConfigOption,
    LinuxOption,
    LinuxTreeOption,
    RunDirOption,
    SnapshotsOption,
    StockOption,
    WithSeriesOption,
    XenArgsOption,
    XenConfigOption,
    XenOption,
    XenTreeOption,
    checked_trees,
    make_progress,
)
from harness.core.errors import UserError
from harness.core.records import Abi, Trees
from harness.plan.flavours import FLAVOURS, RELEASE
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.machine.ssh import SSH


def build(
    xen: XenOption = "",
    linux: LinuxOption = "",
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    stock: StockOption = False,
    with_series: WithSeriesOption = False,
    xen_config: XenConfigOption = None,
    linux_config: LinuxConfigOption = None,
    flavour: FlavourOption = RELEASE,
    guest: Annotated[
        list[str] | None,
        typer.Option("--guest", metavar="KIND", help="Also build what such a guest needs. May be repeated."),
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Fetch the sources and build Xen, Linux, the in-guest tools and the images.

    Artifacts in the store are reused; for each one that is rebuilt, the changed inputs are listed.
    """
    trees = checked_trees(
        Trees(
            xen=xen,
            linux=linux,
            xen_tree=xen_tree,
            linux_tree=linux_tree,
            stock=stock,
            with_series=with_series,
            xen_config=tuple(xen_config or ()),
            linux_config=tuple(linux_config or ()),
        )
    )
    if flavour not in FLAVOURS:
        raise UserError(f"unknown flavour {flavour!r}", hint=f"Known: {', '.join(FLAVOURS)}.")
    from harness.build.graph import build as do_build
    from harness.dev.boot import components_of
    from harness.store.artifacts import Store

    store = Store()
    with make_progress() as progress, store.in_use(say=progress.say):
        built = do_build(
            store=store, progress=progress, jobs=jobs, flavour=flavour,
            components=components_of(guest or ()), trees=trees,
        )  # fmt: skip
    for name, key in built.keys.items():
        print(f"{name:<14} {key[:16]}  {'from the store' if built.hits.get(name) else 'built now'}")
    for kernel, wishes in built.wishes.items():
        for wish in wishes:
            print(f"{kernel:<14} not had: {wish.symbol}={wish.value} ({wish.place}): {wish.why}")
    for name in ("xen", "kernel", "dom0_image", "guest_initrd"):
        print(f"{name:<14} {getattr(built, name)}")


def boot(
    guest: Annotated[
        list[str] | None,
        typer.Option(
            "--guest", metavar="KIND", help=f"Also start a guest: {', '.join(KINDS)}. May be repeated."
        ),
    ] = None,
    abi: Annotated[Abi, typer.Option("--abi", help="ABI that dom0 and the guests use.")] = Abi.L3,
    memory: Annotated[
        int,
        typer.Option("--memory", min=512, metavar="MIB", help="The machine's RAM; dom0 gets half."),
    ] = 4096,
    xen: XenOption = "",
    linux: LinuxOption = "",
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    stock: StockOption = False,
    with_series: WithSeriesOption = False,
    xen_config: XenConfigOption = None,
    linux_config: LinuxConfigOption = None,
    xen_args: XenArgsOption = "",
    dom0_args: Dom0ArgsOption = "",
    accel: AccelOption = Accel.AUTO,
    connect: ConnectOption = None,
    jobs: JobsOption = None,
    run_dir: RunDirOption = None,
    snapshots: SnapshotsOption = False,
) -> None:
    """Boot a machine, or restore a saved one, and keep it up until Ctrl-C.

    To log in, from another terminal:

    [bold]evh shell[/bold]                            dom0
    [bold]evh shell pv64 -c 'dmesg | tail'[/bold]     one command in a guest
    """
    from harness.dev.boot import booted
    from harness.machine.attach import hold

    trees = checked_trees(
        Trees(
            xen=xen,
            linux=linux,
            xen_tree=xen_tree,
            linux_tree=linux_tree,
            stock=stock,
            with_series=with_series,
            xen_config=tuple(xen_config or ()),
            linux_config=tuple(linux_config or ()),
        )
    )
    with make_progress() as progress, ExitStack() as stack:
        machine, folder = booted(
            stack,
            progress,
            guests=guest or [],
            abi=abi,
            memory=memory,
            trees=trees,
            xen_args=xen_args,
            dom0_args=dom0_args,
            accel=accel,
            connect=connect,
            jobs=jobs,
            run_dir=run_dir,
            snapshots=snapshots,
        )
        hold(machine, folder, say=progress.say)


def shell(
    where: Annotated[str, typer.Argument(metavar="GUEST", help="dom0, or the name of a guest.")] = "dom0",
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            "-c",
            help="Run this command instead of a shell and exit with its status.",
        ),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")] = Path("runs"),
    accel: AccelOption = Accel.AUTO,
) -> None:
    """Open a root shell in dom0 or in a guest.

    Uses the machine that [bold]evh boot[/bold] or [bold]evh run --keep[/bold] keeps up;
    without one, boots a machine that lasts as long as the shell.

    [bold]evh shell[/bold]                            dom0
    [bold]evh shell pv64[/bold]                       the guest named pv64
    [bold]evh shell -c 'xl list'[/bold]               one command
    [bold]evh shell -c 'cat >/tmp/x' <x[/bold]        its input and output are those of this command
    """
    from harness.dev.boot import booted
    from harness.machine.attach import connect, running

    up = next(running(runs), None)
    with ExitStack() as stack:
        if up is not None:
            print(f"evh: using the machine of {up[0]}", file=sys.stderr)
            ssh = connect(up[1], where)
        else:
            if command is None and not sys.stdin.isatty():
                raise UserError(
                    "an interactive shell needs a terminal",
                    hint="For one command: evh shell NAME --command 'xl list'.",
                )
            progress = stack.enter_context(make_progress())
            machine, _ = booted(stack, progress, guests=[] if where == "dom0" else [where], accel=accel)
            ssh = machine.dom0 if where == "dom0" else machine.guests[where].ssh
        raise typer.Exit(_talk(ssh, command))


def _talk(ssh: SSH, text: str | None) -> int:
    from harness.dev.shell import command, interactive

    return interactive(ssh) if text is None else command(ssh, text)
