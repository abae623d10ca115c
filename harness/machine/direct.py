# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a kernel in QEMU without libvirt, disk or network; its console is the only output.

Bare guests, XTF's tests and the KUnit kernels are booted this way. QEMU dies
with the harness (SIGKILL on the parent's death, see process.run).

There is no dom0 whose boot would tell the host's speed. Instead each boot
measures it for itself: the time from QEMU's start to a line that every such
boot prints, against that on the reference host, is its time scale.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.core import process
from harness.core.errors import InfraError, reason_of
from harness.core.files import write_all
from harness.monitor.waits import ConsoleLost, scaled, time_scale_of

# QEMU's options for such a boot: only a serial console, on stdout; a reset ends QEMU.
WORDS = (
    "-display", "none", "-monitor", "none",
    "-nodefaults", "-serial", "stdio", "-no-reboot", "-net", "none",
)  # fmt: skip


# How many times longer than on the reference host the line may take by which the host's speed is told, at
# least.
PATIENCE = 40.0


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """A line of the console by which the host's speed is told.

    Attributes:
        line: regular expression that begins at the line's start.
        seconds: from QEMU's start to that line on the reference host.
    """

    line: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What came of a QEMU that was run to its end.

    Attributes:
        lines: of the console, with their line ends.
        problem: QEMU's error message if it failed; else empty.
        late: if a deadline ended it: which one; else empty.
        time_scale: how many times slower than the reference host this one was up to the milestone; 1 if it
            never came.
        seconds: from before QEMU's start until it has ended.
    """

    lines: list[str]
    problem: str
    late: str
    time_scale: float
    seconds: float


def boot(
    words: Sequence[str],
    *,
    files: Mapping[str, Path],
    run_dir: Path,
    console: Path,
    deadline: float,
    milestone: Milestone,
    until: str = "",
    beside: Callable[[Path], AbstractContextManager[Sequence[str]]] | None = None,
) -> Watched:
    """Run QEMU in a temporary folder below ``run_dir`` until it ends.

    Args:
        words: QEMU's command line, without the program.
        files: what QEMU reads, by the names that ``words`` has for them.
        run_dir: made if missing.
        console: file that gets the console, byte for byte, line by line as it arrives.
        deadline: seconds at reference speed until QEMU is stopped.
        milestone: the line by which the deadline is scaled.
        until: stop QEMU at a line that begins with this, for guests that don't end the machine.
        beside: opens something that must exist while QEMU runs: it gets the temporary folder and
            gives further words for the command line.

    Raises:
        InfraError: QEMU is not installed.
        ConsoleLost: the console's file cannot be written.
        OSError: another file cannot be written.
    """
    qemu = process.need("qemu-system-x86_64", package="qemu-system-x86")
    run_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=run_dir, prefix=".boot-")))
        place(folder, files)
        more = stack.enter_context(beside(folder)) if beside else ()
        return watch(
            [qemu, *words, *more], folder=folder, console=console, deadline=deadline,
            milestone=milestone, until=until,
        )  # fmt: skip


def place(folder: Path, files: Mapping[str, Path]) -> None:
    """Link ``files`` into ``folder``, each under its name."""
    for name, path in files.items():
        (folder / name).symlink_to(path.resolve())


def watch(
    argv: Sequence[str],
    *,
    folder: Path,
    console: Path,
    deadline: float,
    milestone: Milestone,
    until: str = "",
) -> Watched:
    """Run QEMU in ``folder`` until it ends, and write its console to a file as it arrives.

    Args:
        argv: QEMU's command line, the program included.
        console, deadline, milestone, until: as in ``boot``.
    """
    lines: list[str] = []
    problem = ""
    with process.children() as scope, console.open("wb", buffering=0) as file:
        limit = _Limit(deadline, milestone=milestone, stop=scope.stop)

        def on_bytes(raw: bytes) -> None:
            try:
                write_all(file, raw)
            except OSError as error:
                layer = console.stem.removeprefix("console-")
                raise ConsoleLost(layer, f"cannot write {console}: {reason_of(error)}") from error

        def on_line(line: str) -> None:
            limit.note(line)
            lines.append(line)
            if until and line.startswith(until):
                scope.stop()

        try:
            process.run(
                argv, what="boot the machine", cwd=folder, on_line=on_line, on_bytes=on_bytes,
                death_signal="KILL",
            )  # fmt: skip
        except process.Cancelled:
            pass
        except InfraError as error:
            problem = error.message
        finally:
            limit.cancel()
    return Watched(
        lines=lines, problem=problem, late=limit.late, time_scale=limit.time_scale, seconds=limit.seconds
    )


class _Limit:
    """The deadline of one boot: first for its milestone, then, scaled by that, for all of it.

    Args:
        deadline: seconds at reference speed.
        stop: called, on another thread, when the deadline has passed.
    """

    def __init__(self, deadline: float, *, milestone: Milestone, stop: Callable[[], object]) -> None:
        self._deadline = deadline
        self._reference = milestone.seconds
        self._sought: re.Pattern[str] | None = re.compile(milestone.line)
        self._stop = stop
        self._started = time.monotonic()
        self.time_scale = 1.0
        self.late = ""
        # Not less than the deadline: a kernel that never prints that line may be well all the same.
        most = max(deadline, PATIENCE * self._reference)
        self._timer = self._after(most, f"{most:.0f} s (it is still booting)")

    @property
    def seconds(self) -> float:
        """Since the start."""
        return round(time.monotonic() - self._started, 3)

    def note(self, line: str) -> None:
        """A line has arrived; at the milestone, the deadline becomes the one that is scaled."""
        if self._sought is None or not self._sought.match(line):
            return
        self._sought = None
        self._timer.cancel()
        self.time_scale = round(time_scale_of(self.seconds, reference=self._reference), 2)
        said = scaled(self._deadline, self.time_scale)
        self._timer = self._after(self._deadline * self.time_scale - self.seconds, said)

    def cancel(self) -> None:
        """It has ended."""
        self._timer.cancel()

    def _after(self, seconds: float, said: str) -> threading.Timer:
        def give_up() -> None:
            self.late = said
            self._stop()

        timer = threading.Timer(max(0.0, seconds), give_up)
        timer.daemon = True
        timer.start()
        return timer
