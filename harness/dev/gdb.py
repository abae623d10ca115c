# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb on a bare guest's deterministic boot, with the symbols of Xen and the guest.

QEMU records a machine with one CPU and replays the recording, so stops do not
change the run and single steps can be reversed. QEMU 7.2 refuses to record a
machine with more CPUs; its instruction counter still repeats the same run,
exactly up to the first stop (docs/repro.md).
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
# Holds the snapshots that a replay starts from and steps back to.
DISK = ("-drive", "file=states.qcow2,if=none,id=states")


@dataclass(frozen=True, kw_only=True)
class Debug:
    """Result of a gdb session.

    Attributes:
        code: gdb's exit code.
        console: the machine's console under gdb.
        recorded: the recording's console; None without a recording.
    """

    code: int
    console: Path
    recorded: Path | None


def sources_of(built: Built) -> str:
    """The folder against which gdb resolves the source paths of Xen's debug info; empty if it is gone.

    Those paths are relative to the build folder, which was a sibling of the source tree.
    """
    trees = built.xen.parent.parent.parent / "trees"
    beside = sorted(path for path in trees.glob("*") if path.is_dir()) if trees.is_dir() else []
    return str(beside[0]) if beside else ""


def debug(
    boot: BootRecord, *, built: Built, folder: Path, commands: Sequence[str], say: Callable[[str], None]
) -> Debug:
    """Run gdb on ``boot`` until gdb exits.

    Args:
        boot: as recorded in run.json; it is made deterministic if it was not.
        folder: an empty folder for the recording, the consoles and gdb's script.
        commands: gdb commands to run in order without a terminal; empty: an interactive session.
        say: prints a line for the user.

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
        say(f"QEMU cannot record a machine with {boot.vcpus + 1} CPUs: repeating the run instead")
    recorded = record(words("record"), folder, seconds=boot.seconds) if alone else None
    console = folder / "console-gdb.log"
    replay = words("replay" if alone else "")
    replay[replay.index("-serial") + 1] = f"file:{console.name}"
    # QEMU gets its own session, so that Ctrl-C reaches only gdb, and SIGTERM if gdb is killed.
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
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # Ctrl-C is for gdb
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
    """Text of the gdb script."""
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


def record(argv: Sequence[str], folder: Path, *, seconds: float) -> Path:
    """Record a boot in ``folder``.

    Args:
        argv: QEMU's command.
        seconds: how long the boot took that was not recorded.

    Returns:
        Path of the console.

    Raises:
        InfraError: QEMU failed, or did not end before its deadline.
    """
    image = process.need("qemu-img", package="qemu-utils")
    disk = folder / "states.qcow2"
    process.run([image, "create", "-q", "-f", "qcow2", disk, "1M"], what="create a disk for QEMU's snapshots")
    console = folder / "console-recorded.log"
    # Recording makes a boot a fifth slower; a boot of many rounds takes longer than the usual deadline.
    deadline = max(bare.COUNTED_DEADLINE, 3 * seconds)
    milestone = bare.milestone(vcpus=1, deterministic=True)
    done = watch(argv, folder=folder, console=console, deadline=deadline, milestone=milestone)
    hint = f"See its console: {console}."
    if done.problem:
        raise InfraError(f"the run could not be recorded: {done.problem}", hint=hint)
    if done.late:
        raise InfraError(f"the run did not end within {done.late}", hint=hint)
    return console


def clear(folder: Path) -> None:
    """Remove the large files, that is the recording and the snapshots, and links into the store."""
    for name in ("recording", "states.qcow2", "guests.cpio"):
        (folder / name).unlink(missing_ok=True)
    for name in ("xen", "kernel", "bundle"):
        if (folder / name).is_symlink():
            (folder / name).unlink()
