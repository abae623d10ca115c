# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a kernel in QEMU without libvirt, disk or network; its console is the only output.

Bare guests, XTF's tests and the KUnit kernels are booted this way. QEMU dies
with the harness (SIGTERM on the parent's death, see process.run).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.core import process
from harness.core.errors import InfraError

# QEMU's options for such a boot: only a serial console, on stdout; a reset ends QEMU.
WORDS = (
    "-display", "none", "-monitor", "none",
    "-nodefaults", "-serial", "stdio", "-no-reboot", "-net", "none",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DirectBoot:
    """How a boot went.

    Attributes:
        lines: of the console, with their line ends.
        problem: QEMU's error message if it failed; else empty.
        late: whether the deadline ended it.
        seconds: from before QEMU's start until it has ended.
    """

    lines: list[str]
    problem: str
    late: bool
    seconds: float


def boot(
    words: Sequence[str],
    *,
    files: Mapping[str, Path],
    run_dir: Path,
    console: Path,
    deadline: float,
    until: str = "",
    beside: Callable[[Path], AbstractContextManager[Sequence[str]]] | None = None,
) -> DirectBoot:
    """Run QEMU in a temporary folder below ``run_dir`` until it ends.

    Args:
        words: QEMU's command line, without the program.
        files: what QEMU reads, by the names that ``words`` has for them.
        run_dir: made if missing.
        console: file that gets the console, line by line as it arrives.
        deadline: seconds until QEMU is stopped.
        until: stop QEMU at a line that begins with this, for guests that don't end the machine.
        beside: opens something that must exist while QEMU runs: it gets the temporary folder and
            gives further words for the command line.

    Raises:
        InfraError: QEMU is not installed.
        OSError: a file cannot be written.
    """
    qemu = process.need("qemu-system-x86_64", package="qemu-system-x86")
    run_dir.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=run_dir, prefix=".boot-")))
        place(folder, files)
        more = stack.enter_context(beside(folder)) if beside else ()
        lines, problem, late = watch(
            [qemu, *words, *more], folder=folder, console=console, deadline=deadline, until=until
        )
    seconds = round(time.monotonic() - started, 3)
    return DirectBoot(lines=lines, problem=problem, late=late, seconds=seconds)


def place(folder: Path, files: Mapping[str, Path]) -> None:
    """Link ``files`` into ``folder``, each under its name."""
    for name, path in files.items():
        (folder / name).symlink_to(path.resolve())


def watch(
    argv: Sequence[str], *, folder: Path, console: Path, deadline: float, until: str = ""
) -> tuple[list[str], str, bool]:
    """Run QEMU in ``folder`` until it ends, and write its console to a file as it arrives.

    Args:
        argv: QEMU's command line, the program included.
        console, deadline, until: as in ``boot``.

    Returns:
        The console's lines; QEMU's error message, if it failed; whether the deadline ended it.
    """
    lines: list[str] = []
    late = threading.Event()
    problem = ""
    with process.children() as scope, console.open("w") as file:

        def give_up() -> None:
            late.set()
            scope.stop()

        def on_line(line: str) -> None:
            lines.append(line)
            file.write(line)
            file.flush()  # so that the file is complete even if the run is killed
            if until and line.startswith(until):
                scope.stop()

        timer = threading.Timer(deadline, give_up)
        timer.start()
        try:
            process.run(argv, what="boot the machine", cwd=folder, on_line=on_line)
        except process.Cancelled:
            pass
        except InfraError as error:
            problem = error.message
        finally:
            timer.cancel()
    return lines, problem, late.is_set()
