# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a program to its end; on failure, an error that a person can act on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from harness.core.errors import EvhError, InfraError

TAIL_LINES = 15
# Seconds a program gets to tidy up after SIGTERM.
GRACE = 5.0


class Cancelled(EvhError):
    """The program was stopped because what it was for has failed elsewhere."""


class Children:
    """The programs under way in one piece of work, so that it can be stopped as a whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """Note a child; it is stopped at once if everything already is."""
        with self._lock:
            self._running.add(child)
            if self._stopped.is_set():
                terminate(child)

    def remove(self, child: subprocess.Popen[bytes]) -> None:
        """Forget a child that has ended."""
        with self._lock:
            self._running.discard(child)

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; True as soon as :meth:`stop` was called."""
        return self._stopped.wait(seconds)

    def stop(self) -> None:
        """Stop what runs, and whatever would still be started."""
        with self._lock:
            self._stopped.set()
            for child in self._running:
                terminate(child)


_children: ContextVar[Children | None] = ContextVar("children", default=None)


@contextmanager
def children() -> Iterator[Children]:
    """A scope (and the threads that copy its context) whose programs can be stopped together."""
    scope = Children()
    token = _children.set(scope)
    try:
        yield scope
    finally:
        _children.reset(token)


def pause(seconds: float) -> None:
    """Wait, unless the scope's work is stopped.

    Raises:
        Cancelled: it is.
    """
    scope = _children.get()
    if scope is None:
        time.sleep(seconds)
    elif scope.wait(seconds):
        raise Cancelled("stopped: something else failed first")


def terminate(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the child's whole process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)


def find(program: str) -> str | None:
    """Path of ``program``, None if it is not installed.

    ``/usr/sbin`` and ``/sbin`` are looked into too: an ordinary user's PATH
    on Debian does not have them, and mke2fs lives there.
    """
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def need(program: str, *, package: str) -> str:
    """Path of ``program``, or an :class:`InfraError` naming its package."""
    found = find(program)
    if found is None:
        raise InfraError(
            f"the program {program} is not installed",
            hint=f"install the package {package} (`make setup` installs all that is needed).",
        )
    return found


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last ``lines`` non-empty lines of ``text``."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with messages in English (some are parsed), plus ``extra``."""
    env = {k: v for k, v in os.environ.items() if k != "LANGUAGE" and not k.startswith("LC_")}
    # Ours when make started us; its jobserver is not for the builds below.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
        env.pop(name, None)
    return env | {"LC_ALL": "C.UTF-8"} | dict(extra or {})


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    error: type[EvhError] = InfraError,
    hint: str = "",
) -> str:
    """Run ``argv`` to its end and return what it printed (both outputs).

    The program runs in a process group of its own, and is sent SIGTERM when
    we die, even by SIGKILL: no compiler is left behind.

    Args:
        what: what is being done, for the error message ("make the dom0 image").
        env: added to the environment.
        log: where the output is appended as it comes.
        on_line: called with each line as it comes.
        error: raised when the program fails, with its last lines.
        hint: the error's next step.
    """
    command = [str(arg) for arg in argv]
    scope = _children.get()
    if scope is not None and scope.stopped:
        raise Cancelled(f"did not {what}: something else failed first")
    guard = shutil.which("setpriv")
    said: list[str] = []
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("a", errors="replace")) if log else None
        if out:
            out.write(f"$ {' '.join(command)}\n")
            out.flush()
        child = stack.enter_context(
            subprocess.Popen(
                [guard, "--pdeathsig", "TERM", *command] if guard else command,
                cwd=cwd,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        if scope is not None:
            scope.add(child)
            stack.callback(scope.remove, child)
        try:
            assert child.stdout is not None
            for raw in child.stdout:
                line = raw.decode(errors="replace")
                said.append(line)
                if out:
                    out.write(line)
                    out.flush()
                if on_line:
                    on_line(line)
            returncode = child.wait()
        except BaseException:
            end(child)
            raise
    if returncode and scope is not None and scope.stopped:
        raise Cancelled(f"did not {what}: something else failed first")
    if returncode:
        lines = "".join(said)
        raise error(
            f"could not {what}: {command[0]} {ended(returncode)}\n{excerpt(lines)}".rstrip(),
            hint=hint,
        )
    return "".join(said)


def excerpt(output: str) -> str:
    """The lines of a failed program's output that say why it failed.

    A parallel make prints the error and then finishes what else was running,
    so the first lines that look like an error come before the last lines.
    """
    marks = (": error:", ": fatal error:", "undefined reference", " Error ", "No space left")
    lines = output.splitlines()
    first = next((n for n, line in enumerate(lines) if any(m in line for m in marks)), None)
    if first is None or first >= len(lines) - TAIL_LINES:
        return tail(output)
    return "\n".join([*lines[first : first + 8], "...", *lines[-5:]])


def end(child: subprocess.Popen[bytes]) -> None:
    """Stop the child's process group: politely, then not."""
    terminate(child)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def ended(returncode: int) -> str:
    """How a child ended, in words."""
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with {returncode}"


def alive(pid: int) -> bool:
    """Whether a process of that id exists on this host."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

