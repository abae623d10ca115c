# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a bare guest as Xen's dom0: a verdict on the hypervisor, with no Linux in the way.

QEMU is run directly: there is no disk, no network and nothing to talk to, the
guest says what it has to say on the console and ends the machine. It dies
with the harness (SIGTERM on the parent's death, see process.run).

A deterministic boot counts instructions instead of time (QEMU's icount), so
that the same seed gives the same console, bit for bit, on any machine
(docs/repro.md).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from harness.core import process
from harness.core.errors import InfraError


def watch(
    argv: Sequence[str], *, folder: Path, console: Path, deadline: float, until: str = ""
) -> tuple[list[str], str, bool]:
    """Run QEMU in ``folder`` to its end, and its console into a file as it comes.

    Args:
        until: a line that begins so is the end, for guests that don't end the machine.

    Returns:
        The console's lines; what QEMU complained of, if it failed; whether the deadline ended it.
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
            file.flush()  # a killed run keeps what was said
            if until and line.startswith(until):
                scope.stop()

        timer = threading.Timer(deadline, give_up)
        timer.start()
        try:
            process.run(argv, what="boot a bare guest", cwd=folder, on_line=on_line)
        except process.Cancelled:
            pass
        except InfraError as error:
            problem = error.message
        finally:
            timer.cancel()
    return lines, problem, late.is_set()

