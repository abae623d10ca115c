# SPDX-License-Identifier: GPL-2.0-or-later
"""A command that runs over SSH, as a stream of lines; every read ends when the machine is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

import paramiko

from harness.core.errors import InfraError
from harness.monitor.waits import Watchdog, Watched, wait, watching

_CHUNK = 64 * 1024
# Seconds at reference speed for the server to start a command, or to take its input, if the command has no
# deadline of its own.
START_SECONDS = 120.0
NEVER = float("inf")


class Connection(Protocol):
    """The part of an SSH connection that its streams use."""

    name: str
    watchdog: Watchdog

    @property
    def alive(self) -> bool:
        """Whether it is connected."""

    def explain(self, error: Exception) -> NoReturn:
        """Raise the reason for a broken connection."""


class Stream:
    """A running command: iterate over its stdout lines, write to its stdin.

    A context manager, which closes the command's channel.

    Attributes:
        unended: whether the last line had no line end.
        on_stderr: if set, called with what the command prints to stderr, which ``err`` then lacks.
    """

    def __init__(
        self,
        ssh: Connection,
        cmd: str,
        channel: paramiko.Channel,
        *,
        timeout: float,
        silence: float | None,
    ) -> None:
        self._ssh = ssh
        self._watchdog = ssh.watchdog
        self._cmd = cmd
        self._channel = channel
        self._silence = silence
        self._clock = ssh.watchdog.clock
        self._started = self._clock()
        self._timeout = timeout
        self._last_output = self._started
        self._buffer = b""
        self._stderr = bytearray()
        self._ended = False
        self.unended = False
        self.on_stderr: Callable[[bytes], object] | None = None
        channel.settimeout(0.0)
        # The first call of fileno() opens the pipe that becomes readable with new data.
        self._descriptor = channel.fileno()

    # stdin.

    def stdin_write(self, data: bytes) -> None:
        """Write to the command's stdin; blocks while the channel's window is full.

        Raises: MachineLost; InfraError: the command did not take the input in time.
        """
        with self._ssh.watchdog.on_loss(self._channel.close):
            left = START_SECONDS if self._timeout == NEVER else self._left()
            self._channel.settimeout(left * self._ssh.watchdog.time_scale)
            try:
                sent = 0
                while sent < len(data):
                    sent += self._channel.send(data[sent : sent + _CHUNK])
            except OSError as error:
                self._ssh.watchdog.check()
                raise InfraError(
                    f"{self._ssh.name}: cannot write to `{self._cmd}`: {error or 'timed out'}"
                ) from error
            finally:
                self._channel.settimeout(0.0)

    def stdin_close(self) -> None:
        """Close the command's stdin."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def _left(self) -> float:
        """Seconds left until the command's deadline, at reference speed."""
        used = (self._clock() - self._started) / self._ssh.watchdog.time_scale
        return max(0.0, self._timeout - used)

    # stdout.

    def __iter__(self) -> Iterator[str]:
        while (line := self.readline()) is not None:
            yield line

    def readline(self, *, within: float = NEVER) -> str | None:
        """The next stdout line, without its line end; None after the last.

        Args:
            within: seconds at reference speed without any output, for a command that has no deadline.
        Raises: MachineLost.
        """
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                return line.decode("utf-8", "replace")
            data = self._read(within)
            if data:
                self._buffer += data
                continue
            if self._buffer:
                self.unended = True
                line, self._buffer = self._buffer, b""
                return line.decode("utf-8", "replace")
            return None

    def read(self) -> bytes:
        """The next stdout bytes, not split into lines; empty at the end.

        Raises: MachineLost.
        """
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return self._read()

    @contextmanager
    def watching(self, *others: Watched) -> Iterator[None]:
        """Within the block, reading also ends when one of these is lost."""
        before = self._watchdog
        with watching(before, *others) as self._watchdog:
            try:
                yield
            finally:
                self._watchdog = before

    def _read(self, within: float = NEVER) -> bytes:
        """More stdout bytes; empty at the end."""
        if self._ended:
            return b""

        def answer(seconds: float) -> bytes | None:
            got = self._take()
            if got is not None:
                return got
            if self._channel.eof_received:
                # The pipe stays readable from now on; only the exit status is missing.
                self._channel.status_event.wait(min(0.1, seconds))
            else:
                self._watchdog.poll(self._descriptor, seconds)
            return self._take()

        return wait(
            answer,
            watchdog=self._watchdog,
            what=f"`{self._cmd[:120]}` in {self._ssh.name}",
            total=min(self._left(), within),
            silence=self._silence,
            last_output=lambda: self._last_output,
            hint="see the last lines of its console in the run folder",
        )

    def _take(self) -> bytes | None:
        channel = self._channel
        while channel.recv_stderr_ready():
            data = channel.recv_stderr(_CHUNK)
            if self.on_stderr is None:
                self._stderr += data
            else:
                self.on_stderr(data)
            self._last_output = self._clock()
        if channel.recv_ready():
            self._last_output = self._clock()
            return channel.recv(_CHUNK)
        if not (channel.eof_received or channel.closed) or not channel.exit_status_ready():
            return None
        if channel.recv_ready() or channel.recv_stderr_ready():
            return None  # more data arrived after the checks above
        if channel.closed and not self._ssh.alive:
            self._ssh.explain(EOFError("closed in the middle of a command"))
        self._ended = True
        return b""

    # The end.

    @property
    def rc(self) -> int:
        """Exit status; valid once all lines have been read, -1 before."""
        return self._channel.recv_exit_status() if self._ended else -1

    @property
    def err(self) -> str:
        """What it has printed to stderr so far."""
        return self._stderr.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the command's channel, and so its input and output."""
        self._channel.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
