# SPDX-License-Identifier: GPL-2.0-or-later
"""Run programs to completion, stop them as a group, and turn their failures into errors with a hint."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from harness.core.environment import environment
from harness.core.errors import EvhError, InfraError, UserError

TAIL_LINES = 15
# Seconds between SIGTERM and SIGKILL, and between SIGKILL and giving up.
GRACE = 5.0


class Cancelled(EvhError):
    """The program was stopped, or not started, because another part of the same work failed."""


class Children:
    """The running programs of one piece of work, so that they can be stopped together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()
        self._given_up = threading.Event()

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """Register a child; stop it at once if :meth:`stop` was already called."""
        with self._lock:
            self._running.add(child)
            if self._stopped.is_set():
                self._end()

    def remove(self, child: subprocess.Popen[bytes]) -> None:
        """Forget a child that has ended."""
        with self._lock:
            self._running.discard(child)

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopped.is_set()

    @property
    def given_up(self) -> bool:
        """Whether children were told to end, and then killed, each GRACE seconds ago."""
        return self._given_up.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds``; return True as soon as :meth:`stop` is called."""
        return self._stopped.wait(seconds)

    def stop(self) -> None:
        """Stop all programs, also those that are added later: SIGTERM, then SIGKILL after GRACE seconds."""
        with self._lock:
            self._stopped.set()
            self._end()

    def _end(self) -> None:
        for child in self._running:
            signal_group(child, signal.SIGTERM)
        _later(self._kill)

    def _kill(self) -> None:
        with self._lock:
            for child in self._running:
                signal_group(child, signal.SIGKILL)
        _later(self._given_up.set)


def _later(what: Callable[[], None]) -> None:
    """Do something in GRACE seconds, on another thread."""
    timer = threading.Timer(GRACE, what)
    timer.daemon = True
    timer.start()


_children: ContextVar[Children | None] = ContextVar("children", default=None)


@contextmanager
def children() -> Iterator[Children]:
    """Open a scope: programs run in it, and in threads that copy its context, can be stopped together."""
    scope = Children()
    token = _children.set(scope)
    try:
        yield scope
    finally:
        _children.reset(token)


def pause(seconds: float) -> None:
    """Sleep for ``seconds``, or until the scope is stopped.

    Raises:
        Cancelled: the scope was stopped.
    """
    scope = _children.get()
    if scope is None:
        time.sleep(seconds)
    elif scope.wait(seconds):
        raise Cancelled("stopped because another step failed first")


def signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the child's whole process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def find(program: str) -> str | None:
    """Path of ``program``; None if it is not installed.

    ``/usr/sbin`` and ``/sbin`` are searched too: they are not in an ordinary
    user's PATH on Debian, and mke2fs is there.
    """
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def need(program: str, *, package: str) -> str:
    """Path of ``program``.

    Raises:
        InfraError: it is not installed; the hint names ``package``.
    """
    found = find(program)
    if found is None:
        raise InfraError(
            f"the program {program} is not installed",
            hint=f"install the package {package} (`make setup` installs everything that is needed).",
        )
    return found


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last ``lines`` non-empty lines of ``text``."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    on_bytes: Callable[[bytes], object] | None = None,
    error: type[EvhError] = InfraError,
    hint: str = "",
    death_signal: str = "TERM",
) -> str:
    """Run ``argv`` to completion and return its output (stdout and stderr together).

    The program runs in its own process group, and the kernel sends it a signal
    when the harness dies, even by SIGKILL, so that no compiler is left behind.
    A scope that is stopped (see :func:`children`) ends the program by SIGTERM,
    or else by SIGKILL.

    Args:
        what: the action, as a verb phrase for the error message ("make the dom0 image").
        env: variables to add to those of ``environment``.
        log: file to which the output is appended as it arrives.
        on_line: called with each line as it arrives.
        on_bytes: called with each line as it arrives, not decoded.
        error: class of the error that is raised, with the last lines of output, when the program fails.
        hint: the error's hint.
        death_signal: the signal for a harness that dies: KILL for a program that has nothing to tidy up.

    Raises:
        Cancelled: the scope was stopped (see :func:`children`).
        InfraError: the scope was stopped, and the program cannot be killed.
    """
    command = [str(arg) for arg in argv]
    scope = _children.get()
    if scope is not None and scope.stopped:
        raise Cancelled(f"did not {what}: another step failed first")
    guard = shutil.which("setpriv")
    said: list[str] = []
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("a", errors="replace")) if log else None
        if out:
            out.write(f"$ {' '.join(command)}\n")
            out.flush()
        child = subprocess.Popen(
            [guard, "--pdeathsig", death_signal, *command] if guard else command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert child.stdout is not None
        stack.callback(child.stdout.close)
        if scope is not None:
            scope.add(child)
            stack.callback(scope.remove, child)
        try:
            for raw in _lines(child, scope):
                if on_bytes:
                    on_bytes(raw)
                line = raw.decode(errors="replace")
                said.append(line)
                if out:
                    out.write(line)
                    out.flush()
                if on_line:
                    on_line(line)
            returncode = _status(child, scope)
            if scope is not None and scope.stopped:
                signal_group(child, signal.SIGKILL)  # those of its group that ignore SIGTERM
        except BaseException:
            end(child)
            raise
    if returncode is None:
        raise InfraError(
            f"could not {what}: process {child.pid} ({command[0]}) was killed and does not end",
            hint="It waits inside the kernel, for a disk or a network share: `ps` shows its state as D.",
        )
    if returncode and scope is not None and scope.stopped:
        raise Cancelled(f"did not {what}: another step failed first")
    if returncode:
        lines = "".join(said)
        if os.strerror(errno.ENOSPC) in lines and issubclass(error, UserError):
            # A compiler on a full disk: nothing is wrong with what it was given.
            error, hint = InfraError, "free some space: `evh clean` shows what the store and the runs use."
        raise error(
            f"could not {what}: {command[0]} {ended(returncode)}\n{excerpt(lines)}".rstrip(),
            hint=hint,
        )
    return "".join(said)


def _lines(child: subprocess.Popen[bytes], scope: Children | None) -> Iterator[bytes]:
    """A program's output, line by line, to its end or until the scope has given the program up.

    The end of the output is not the end of the program: what it started may hold the pipe for ever.
    """
    assert child.stdout is not None
    poller = select.poll()
    poller.register(child.stdout, select.POLLIN)
    rest = b""
    while True:
        if not poller.poll(500):
            if scope is not None and scope.given_up:
                break
            continue
        data = os.read(child.stdout.fileno(), 1 << 16)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _status(child: subprocess.Popen[bytes], scope: Children | None) -> int | None:
    """A program's exit status, once it has ended; None if the scope has given it up."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(0.5)
        if scope is not None and scope.given_up:
            return None


def excerpt(output: str) -> str:
    """The lines of a failed program's output that explain the failure.

    A parallel make finishes its other jobs after an error, so the first lines
    that look like an error are shown ahead of the last lines.
    """
    marks = (": error:", ": fatal error:", "undefined reference", " Error ", "No space left")
    lines = output.splitlines()
    first = next((n for n, line in enumerate(lines) if any(m in line for m in marks)), None)
    if first is None or first >= len(lines) - TAIL_LINES:
        return tail(output)
    return "\n".join([*lines[first : first + 8], "...", *lines[-5:]])


def end(child: subprocess.Popen[bytes]) -> None:
    """Stop the child's process group: SIGTERM, then SIGKILL after GRACE seconds.

    A child that does not end by that either is given up after as long again.
    """
    signal_group(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    # Also if the child has ended: others of its group may ignore SIGTERM.
    signal_group(child, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)


def ended(returncode: int) -> str:
    """How a child ended, as a phrase for a message."""
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode}"
