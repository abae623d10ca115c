# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, ``evh``.

Progress and errors go to stderr, results to stdout. Heavy imports wait until
a command needs them, so that ``--help`` is instant.
"""

from __future__ import annotations

import enum
import os
import shutil
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypedDict

import typer
from typer.core import TyperGroup

from harness import plan
from harness.errors import EvhError, UserError
from harness.model import Abi, Verdict
from harness.signals import Interrupted, signals_end_cleanly

if TYPE_CHECKING:
    from harness.progress import Progress
    from harness.record import RunRecord
    from harness.ssh import SSH

BUG = 4


class Accel(enum.StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class _Group(TyperGroup):
    """Shows an EvhError as message and hint, with its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with signals_end_cleanly(lambda text: print(f"evh: {text}", file=sys.stderr)):
                return super().invoke(ctx)
        except Interrupted as e:
            print(f"evh: ended by {e}", file=sys.stderr)
            raise typer.Exit(128 + e.number) from e
        except EvhError as e:
            tell(e)
            verdict = getattr(e, "verdict", None)
            if isinstance(verdict, Verdict) and verdict is not Verdict.ERROR:
                from harness.judge import EXIT_CODES

                raise typer.Exit(EXIT_CODES[verdict]) from e
            raise typer.Exit(e.exit_code) from e
        except BrokenPipeError as e:  # `evh report | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from e


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""
    Event channels on real, nested Xen: build it, boot it, test it, look inside.

    Begin with [bold]evh run[/bold]: it gets and builds Xen and Linux with the
    two patch series, boots them under QEMU, opens every event channel that
    fits, and prints what arrived. The first time takes some 20 minutes, nearly
    all of it compiling; afterwards what is built is used again.
    """,
    epilog="Exit codes: 0 pass, 1 fail, 2 wrong usage, 3 crash, 4 error of the harness or host, "
    "5 hang, 6 nothing ran. "
    "More: docs/verdicts.md, docs/troubleshooting.md.",
)


def tell(error: EvhError) -> None:
    """An error as a person sees it: message, next step."""
    print(f"evh: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def main() -> None:
    """Entry point. What is no EvhError is a bug: a traceback, and exit code 4."""
    try:
        app()
    except Exception:
        traceback.print_exc()
        print(
            "evh: this is a bug in the harness; the traceback above and run.json say where",
            file=sys.stderr,
        )
        sys.exit(BUG)


# Options that several commands share.

AccelOption = Annotated[
    Accel,
    typer.Option(
        "--accel",
        help="QEMU's accelerator. [bold]auto[/bold] takes KVM only where it truly runs nested Xen.",
    ),
]
ConnectOption = Annotated[
    str | None,
    typer.Option(
        "--connect",
        metavar="URI",
        help="libvirt host, e.g. qemu:///system or qemu+ssh://host/system. Without it: no daemon, this host.",
    ),
]
XenTreeOption = Annotated[
    Path | None,
    typer.Option(
        "--xen-tree",
        metavar="PATH",
        help="Your own Xen tree instead of pristine source plus series.",
    ),
]
LinuxTreeOption = Annotated[
    Path | None,
    typer.Option(
        "--linux-tree",
        metavar="PATH",
        help="Your own Linux tree instead of pristine source plus series.",
    ),
]
FlavourOption = Annotated[
    str,
    typer.Option(
        "--flavour",
        metavar="|".join(plan.FLAVOURS),
        help="How Xen is built: [bold]debug[/bold] with its assertions, [bold]ubsan[/bold] with checks for "
        "undefined behaviour, [bold]coverage[/bold] with counters of what ran.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, metavar="N", help="Compilers side by side. Without it: one per core."
    ),
]
RunDirOption = Annotated[
    Path | None,
    typer.Option(
        "--run-dir",
        metavar="PATH",
        help="Folder for consoles and results. Without it: a new one under ./runs.",
    ),
]


def _progress() -> Progress:
    from harness.progress import Progress

    return Progress()


class Trees(TypedDict):
    """A developer's own trees, where given."""

    xen_tree: Path | None
    linux_tree: Path | None


def _trees(xen: Path | None, linux: Path | None) -> Trees:
    for option, path, sign in (
        ("--xen-tree", xen, "xen/common"),
        ("--linux-tree", linux, "kernel/sched"),
    ):
        if path is not None and not path.is_dir():
            raise UserError(f"{option} {path}: no such folder", hint="Name the top folder of a source tree.")
        if path is not None and not (path / sign).is_dir():
            raise UserError(
                f"{option} {path} does not look like that source tree: it has no {sign}",
                hint="Name its top folder.",
            )
    return Trees(xen_tree=xen and xen.resolve(), linux_tree=linux and linux.resolve())


# Commands.


@app.command()
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
            help="; ".join(f"[bold]{s.name}[/bold]: {s.text}" for s in plan.SUITES.values()),
        ),
    ] = None,
    guest: Annotated[
        list[str] | None,
        typer.Option(
            "--guest",
            metavar="|".join(plan.GUESTS),
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
    from harness.run import RunRequest
    from harness.run import run as do_run

    request = RunRequest(
        selection=plan.select(
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
        **_trees(xen_tree, linux_tree),
    )
    with _progress() as progress:
        folder, record = do_run(request, progress=progress)
    _tell_run(folder, record)


def _tell_run(folder: Path, record: RunRecord) -> NoReturn:
    """A run's tables and page; its exit code is ours."""
    from harness import report as reporting

    reporting.write_html(folder, record)
    if record.error is not None:
        tell(EvhError(record.error.message, hint=record.error.hint))
    reporting.print_report(folder, record, file=sys.stdout)
    raise typer.Exit(record.exit_code if record.exit_code is not None else BUG)


@app.command()
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
    from harness.repro import repro as do_repro
    from harness.repro import repro_in_gdb

    if gdb_command and not gdb:
        raise UserError("--gdb-command is for --gdb", hint="Add --gdb.")
    with _progress() as progress:
        if gdb:
            code = repro_in_gdb(cell, where=where, progress=progress, commands=gdb_command or ())
            raise typer.Exit(code)
        folder, record = do_repro(cell, where=where, progress=progress)
    _tell_run(folder, record)


@app.command()
def build(
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    stock: Annotated[
        bool, typer.Option("--stock", help="Without the two series: what they are compared with.")
    ] = False,
    flavour: FlavourOption = plan.FLAVOURS[0],
    guest: Annotated[
        list[str] | None,
        typer.Option("--guest", metavar="KIND", help="What this kind of guest needs too. May be repeated."),
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Get the sources and build Xen, Linux, the in-guest tools and the images.

    What is in the store already is not built again; what is missing says which of its inputs changed.
    """
    trees = _trees(xen_tree, linux_tree)
    if flavour not in plan.FLAVOURS:
        raise UserError(f"unknown flavour {flavour!r}", hint=f"Known: {', '.join(plan.FLAVOURS)}.")
    from harness.booting import parts_of
    from harness.build import build as do_build
    from harness.store import Store

    with _progress() as progress:
        built = do_build(
            store=Store(), progress=progress, stock=stock, jobs=jobs, flavour=flavour,
            parts=parts_of(guest or ()), **trees,
        )  # fmt: skip
    for name, key in built.keys.items():
        print(f"{name:<14} {key[:16]}  {'in the store already' if built.hits.get(name) else 'built now'}")
    for name in ("xen", "kernel", "dom0_image", "guest_initrd"):
        print(f"{name:<14} {getattr(built, name)}")


@app.command()
def boot(
    guest: Annotated[
        list[str] | None,
        typer.Option(
            "--guest", metavar="KIND", help="Start such a guest too: pv64, pvh64, pvh32. May be repeated."
        ),
    ] = None,
    abi: Annotated[Abi, typer.Option("--abi", help="ABI that dom0 and the guests are told to use.")] = Abi.L3,
    memory: Annotated[
        int,
        typer.Option("--memory", min=512, metavar="MIB", help="RAM of the machine; dom0 gets half."),
    ] = 4096,
    stock: Annotated[bool, typer.Option("--stock", help="Without the two series.")] = False,
    accel: AccelOption = Accel.AUTO,
    connect: ConnectOption = None,
    xen_tree: XenTreeOption = None,
    linux_tree: LinuxTreeOption = None,
    jobs: JobsOption = None,
    run_dir: RunDirOption = None,
) -> None:
    """Boot a machine and keep it up until Ctrl-C.

    Then, in another terminal:

    [bold]evh shell[/bold]                            dom0
    [bold]evh shell pv64 -c 'dmesg | tail'[/bold]     one command in a guest
    """
    from harness.attach import hold
    from harness.booting import booted

    with _progress() as progress, ExitStack() as stack:
        machine, folder = booted(
            stack,
            progress,
            guests=guest or [],
            abi=abi,
            memory=memory,
            stock=stock,
            accel=accel,
            connect=connect,
            jobs=jobs,
            run_dir=run_dir,
            **_trees(xen_tree, linux_tree),
        )
        hold(machine, folder, say=progress.say)


@app.command()
def shell(
    where: Annotated[str, typer.Argument(metavar="GUEST", help="dom0, or a guest's name.")] = "dom0",
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            "-c",
            help="Run this one command instead of a shell; its exit status is ours.",
        ),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of run folders.")] = Path("runs"),
    accel: AccelOption = Accel.AUTO,
) -> None:
    """A root shell in dom0 or in a guest.

    It goes into the machine that [bold]evh boot[/bold] or [bold]evh run --keep[/bold] keeps up;
    where there is none, it boots one for as long as the shell lasts.

    [bold]evh shell[/bold]                            dom0
    [bold]evh shell pv64[/bold]                       the guest of that name
    [bold]evh shell -c 'xl list'[/bold]               one command
    """
    from harness.attach import connect, running
    from harness.booting import booted

    up = next(running(runs), None)
    with ExitStack() as stack:
        if up is not None:
            print(f"evh: machine of {up[0]}", file=sys.stderr)
            ssh = connect(up[1], where)
        else:
            if command is None and not sys.stdin.isatty():
                raise UserError(
                    "an interactive shell needs a terminal",
                    hint="For one command: evh shell NAME --command 'xl list'.",
                )
            progress = stack.enter_context(_progress())
            machine, _ = booted(stack, progress, guests=[] if where == "dom0" else [where], accel=accel)
            ssh = machine.dom0 if where == "dom0" else machine.guests[where].ssh
        raise typer.Exit(_talk(ssh, command))


def _talk(ssh: SSH, command: str | None) -> int:
    from harness.attach import interactive

    if command is None:
        return interactive(ssh)
    with ssh.stream(command, timeout=24 * 3600) as stream:
        stream.stdin_close()
        for line in stream:
            print(line, flush=True)
    sys.stderr.write(stream.err)
    return stream.rc


@app.command()
def doctor() -> None:
    """Look at this host: what a run needs, and the next step for what is missing."""
    from harness.host import doctor as checks

    worst = 0
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    for check in checks():
        print(f"{marks.get(str(check.status), check.status)}  {check.name}: {check.text}")
        if check.next_step and check.status != "ok":
            print(f"      -> {check.next_step}")
        worst = max(worst, {"fail": 1}.get(str(check.status), 0))
    raise typer.Exit(BUG if worst else 0)


@app.command()
def clean(
    store: Annotated[bool, typer.Option("--store/--no-store", help="What was downloaded and built.")] = True,
    runs: Annotated[bool, typer.Option("--runs/--no-runs", help="Run folders under ./runs.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show how much space the store and the run folders take, and remove them.

    Folders of runs that are still under way stay.
    """
    from harness.cleaning import is_run_dir, refuse_while_used, size_of, under_way
    from harness.store import Store

    folders = [path for path in sorted(Path("runs").glob("*")) if is_run_dir(path)]
    live = [path for path in folders if under_way(path)]
    doomed: list[Path] = []
    if store and (root := Store().root).is_dir():
        refuse_while_used(root, live)
        doomed += sorted(root.iterdir())
    if runs:
        doomed += [path for path in folders if path not in live]
    if not doomed:
        print("nothing to remove")
        return
    sizes = {path: size_of(path) for path in doomed}
    for path, size in sizes.items():
        print(f"{size / (1 << 20):10,.1f} MiB  {path}")
    print(f"{sum(sizes.values()) / (1 << 20):10,.1f} MiB  in all")
    if not yes and not (sys.stdin.isatty() and typer.confirm("Remove them?")):
        print("nothing was removed; --yes removes without asking", file=sys.stderr)
        return
    for path in doomed:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    print(f"removed {len(doomed)}")


@app.command()
def report(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A run folder. Without it: the newest under ./runs."),
    ] = None,
) -> None:
    """Print a run's tables again, and write its HTML page anew."""
    from harness import report as reporting
    from harness.record import RUN_JSON, load

    if run is None:
        found = sorted(Path("runs").glob(f"*/{RUN_JSON}"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise UserError(
                "there is no run under ./runs yet", hint="evh run makes one; or name a run folder."
            )
        run = found[-1]
    folder, record = load(run)
    reporting.write_html(folder, record)
    reporting.print_report(folder, record, file=sys.stdout)
