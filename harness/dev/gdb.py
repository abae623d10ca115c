# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb on a bare guest's deterministic boot, with the symbols of Xen and of the guest.

A machine with one CPU is recorded by QEMU and the recording replayed, so that
stops change nothing and single steps can be taken back. QEMU 7.2 refuses to
record a machine with more CPUs; its instruction counter makes the same run
again all the same, exactly up to the first stop (docs/repro.md).
"""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness.core import process
from harness.core.errors import InfraError
from harness.core.records import Built
from harness.machine import bare
from harness.machine.bundle import write_bundle
from harness.machine.direct import watch
from harness.run.record import BootRecord

RECORDING = "rrfile=recording,rrsnapshot=init"
# Where QEMU keeps the state that a replay starts, and steps back, from.
DISK = ("-drive", "file=states.qcow2,if=none,id=states")


@dataclass(frozen=True, kw_only=True)
class Debug:
    """What gdb did.

    Attributes:
        code: gdb's exit code.
        console: what the machine said under gdb.
        recorded: console of the recording; None where there is none.
    """

    code: int
    console: Path
    recorded: Path | None


def sources_of(built: Built) -> str:
    """A folder from which the names in Xen's debug information lead to its sources, if they are there.

    They are relative to the objects, which were beside the tree.
    """
    trees = built.xen.parent.parent.parent / "trees"
    beside = sorted(path for path in trees.glob("*") if path.is_dir()) if trees.is_dir() else []
    return str(beside[0]) if beside else ""


def debug(
    boot: BootRecord, *, built: Built, folder: Path, commands: Sequence[str], say: Callable[[str], None]
) -> Debug:
    """Run gdb on ``boot`` until it ends.

    Args:
        boot: as it stands in run.json; made deterministic if it was not.
        folder: empty; gets the recording, the consoles and gdb's script.
        commands: gdb's, one after the other without a terminal; none: a person types them.

    Raises:
        InfraError: gdb or QEMU is missing, or the recording failed.
    """
    gdb = process.need("gdb", package="gdb")
    qemu = process.need("qemu-system-x86_64", package="qemu-system-x86")
    dom0 = bare.dom0_of(boot.kind)
    bundle = write_bundle(folder / "guests.cpio", built.bare)
    bare.place(folder, xen=built.xen, kernel=built.bare / dom0, bundle=bundle)
    alone = bare.cpus(vcpus=boot.vcpus, deterministic=True) == 1

    def words(mode: str) -> list[str]:
        told = bare.qemu_words(
            accelerator="tcg", args=boot.args, bundle=True, deterministic=True, vcpus=boot.vcpus,
            memory_mib=boot.memory_mib, xen_args=boot.xen_args,
            icount=f"{bare.ICOUNT},rr={mode},{RECORDING}" if mode else bare.ICOUNT,
        )  # fmt: skip
        return [qemu, *told, *(DISK if mode else ())]

    if not alone:
        say(f"QEMU records no machine with {boot.vcpus + 1} CPUs: the run is made again instead")
    recorded = record(words("record"), folder) if alone else None
    console = folder / "console-gdb.log"
    replay = words("replay" if alone else "")
    replay[replay.index("-serial") + 1] = f"file:{console.name}"
    # Not in gdb's process group: Ctrl-C is for gdb. Nor is it left behind if gdb is killed.
    guard = ["setsid", "setpriv", "--pdeathsig", "TERM"]
    script = folder / "session.gdb"
    script.write_text(
        render(
            xen_syms=built.xen_syms, kernel=(built.bare / dom0).resolve(), console=console.name,
            qemu=[*guard, *replay, "-S", "-gdb", "stdio"], recorded=alone, commands=commands,
            sources=sources_of(built),
        )
    )  # fmt: skip
    argv = [gdb, "-q", "-nx", *(["-batch"] if commands else []), "-x", script.name]
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # theirs, while gdb runs
    try:
        code = subprocess.run(argv, cwd=folder, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return Debug(code=code, console=console, recorded=recorded)


def render(
    *,
    xen_syms: Path,
    kernel: Path,
    console: str,
    qemu: Sequence[str],
    recorded: bool,
    commands: Sequence[str],
    sources: str = "",
) -> str:
    """gdb's script."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.dev"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("session.gdb.j2").render(
        xen_syms=shlex.quote(str(xen_syms)),
        kernel=shlex.quote(str(kernel)),
        console=console,
        qemu=shlex.join(qemu),
        recorded=recorded,
        commands=commands,
        batch=bool(commands),
        sources=sources,
    )


def record(argv: Sequence[str], folder: Path) -> Path:
    """Record a boot in ``folder``; gives the console.

    Raises:
        InfraError: QEMU could not.
    """
    image = process.need("qemu-img", package="qemu-utils")
    disk = folder / "states.qcow2"
    process.run([image, "create", "-q", "-f", "qcow2", disk, "1M"], what="make a disk for QEMU's states")
    console = folder / "console-recorded.log"
    deadline = bare.COUNTED_DEADLINE
    _, problem, late = watch(argv, folder=folder, console=console, deadline=deadline)
    if problem:
        raise InfraError(f"the run could not be recorded: {problem}", hint=f"Its console: {console}.")
    if late:
        raise InfraError(f"the run did not end within {deadline:.0f} s", hint=f"Its console: {console}.")
    return console


def clear(folder: Path) -> None:
    """Remove what is large: the recording and the states."""
    for name in ("recording", "states.qcow2", "guests.cpio"):
        (folder / name).unlink(missing_ok=True)
    for name in ("xen", "kernel", "bundle"):
        if (folder / name).is_symlink():
            (folder / name).unlink()
