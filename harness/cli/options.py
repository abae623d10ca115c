# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share, and how an error is shown."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from harness.core.errors import EvhError, UserError
from harness.plan.flavours import FLAVOURS

if TYPE_CHECKING:
    from harness.core.progress import Progress


class Accel(enum.StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


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
        metavar="|".join(FLAVOURS),
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


def make_progress() -> Progress:
    from harness.core.progress import Progress

    return Progress()


class Trees(TypedDict):
    """A developer's own trees, where given."""

    xen_tree: Path | None
    linux_tree: Path | None


def checked_trees(xen: Path | None, linux: Path | None) -> Trees:
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


BUG = 4


def tell(error: EvhError) -> None:
    """An error as a person sees it: message, next step."""
    print(f"evh: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
