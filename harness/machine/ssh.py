# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH into dom0, and through dom0 into guests; every wait ends when the machine is lost.

Only the host keys that the image build made are accepted.
"""

from __future__ import annotations

import base64
import contextlib
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import paramiko
from paramiko.pkey import UnknownKeyType

from harness.core.errors import EvhError, InfraError
from harness.machine.stream import NEVER, START_SECONDS, Stream
from harness.monitor.waits import Watchdog, no_answer, wait


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A command that has ended.

    Attributes:
        rc: its exit status; -1 if a signal ended it.
        out, err: its standard output and standard error.
    """

    rc: int
    out: str
    err: str


class CommandFailed(EvhError):
    """A command in dom0 or a guest ended with a status other than 0."""

    exit_code = 1

    def __init__(self, message: str, *, completed: Completed, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.completed = completed


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys for a connection.

    Attributes:
        user: the private key to log in with.
        host: the only host key that is accepted.
    """

    user: paramiko.PKey
    host: paramiko.PKey

    @classmethod
    def load(cls, *, private: Path, host: Path | str) -> Keys:
        """Read the keys.

        Args:
            private: OpenSSH private key, Ed25519 or RSA.
            host: the host's public key: a path, or the text itself
                ("ssh-ed25519 AAAA... comment").
        Raises: InfraError: a key is missing or malformed.
        """
        try:
            text = host if isinstance(host, str) and " " in host else Path(host).read_text()
            kind, blob, *_ = text.split()
            return cls(
                user=paramiko.PKey.from_path(private),
                host=paramiko.PKey.from_type_string(kind, base64.b64decode(blob)),
            )
        except (OSError, ValueError, paramiko.SSHException, UnknownKeyType) as error:
            raise InfraError(
                f"cannot read the images' SSH keys ({private}, {host}): {error}",
                hint="rebuild the images: evh clean, then evh build",
            ) from error


class SSH:
    """Runs commands on one host: dom0, or a guest through dom0.

    It connects on first use. Several threads may use it at once; each command
    has its own channel.

    Args:
        name: for messages ("dom0", "guest:a").
        address: host and port; as seen from `through`, if that is given.
        keys: the key to log in with and the accepted host key.
        watchdog: ends a wait early, and scales its deadline.
        through: another SSH, which forwards to `address`.
        user: the account to log in to.
    """

    def __init__(
        self,
        *,
        name: str,
        address: tuple[str, int],
        keys: Keys,
        watchdog: Watchdog,
        through: SSH | None = None,
        user: str = "root",
    ) -> None:
        self.name = name
        self.address = address
        self.watchdog = watchdog
        self.through = through
        self._keys = keys
        self._user = user
        self._transport: paramiko.Transport | None = None
        self._lock = threading.Lock()

    # Connecting.

    def connect(self, *, timeout: float = 30.0) -> None:
        """Connect, unless connected already.

        Failed attempts are repeated until the deadline: while the kernel is up
        and the SSH server is not, connections are refused.

        Args:
            timeout: seconds at reference speed.
        Raises: MachineLost; InfraError: the host key is not the expected one.
        """
        with self._lock:
            if self._transport is not None and self._transport.is_active():
                return
            last: list[str] = []

            def attempt(seconds: float) -> paramiko.Transport | None:
                try:
                    return self._open_transport(seconds)
                except (OSError, EOFError, paramiko.SSHException) as error:
                    if isinstance(error, paramiko.BadHostKeyException):
                        raise InfraError(
                            f"the host key of {self.name} is not the one of its image",
                            hint="the image and the keys are from different builds: evh build",
                        ) from error
                    last[:] = [str(error) or type(error).__name__]
                    with contextlib.suppress(OSError):
                        self.watchdog.poll(None, min(0.1, seconds))
                    return None

            try:
                self._transport = wait(
                    attempt, watchdog=self.watchdog, what=f"SSH to {self.name}", total=timeout
                )
            except EvhError as error:
                if last:
                    error.hint = error.hint or f"the last attempt failed with: {last[0]}"
                raise

    def _open_transport(self, seconds: float) -> paramiko.Transport:
        link: Any
        if self.through is None:
            link = socket.create_connection(self.address, timeout=seconds)
        else:
            link = self.through.tunnel(self.address, timeout=seconds)
        with self.watchdog.on_loss(link.close):
            transport = paramiko.Transport(link, default_window_size=8 << 20)
            # The cheapest algorithms that both ends support: emulation makes them expensive.
            options = transport.get_security_options()
            options.ciphers = [c for c in ("aes128-ctr",) if c in options.ciphers]
            options.kex = [k for k in options.kex if k.startswith("curve25519")] or options.kex
            options.digests = [d for d in options.digests if d == "hmac-sha2-256"] or options.digests
            transport.banner_timeout = transport.handshake_timeout = seconds
            transport.auth_timeout = transport.channel_timeout = seconds
            try:
                transport.start_client(timeout=seconds)
                seen = transport.get_remote_server_key()
                if seen != self._keys.host:
                    raise paramiko.BadHostKeyException(self.name, seen, self._keys.host)
                transport.auth_publickey(self._user, self._keys.user)
            except BaseException:
                transport.close()
                raise
            return transport

    @property
    def alive(self) -> bool:
        """Whether it is connected."""
        return self._transport is not None and self._transport.is_active()

    def tunnel(self, address: tuple[str, int], *, timeout: float) -> paramiko.Channel:
        """Open a direct-tcpip channel to `address`, as seen from this host.

        Args:
            timeout: seconds.
        """
        self.connect()
        assert self._transport is not None
        return self._transport.open_channel(
            "direct-tcpip", address, ("127.0.0.1", 0), timeout=timeout
        )

    # Commands.

    def run(
        self,
        cmd: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        check: bool = True,
    ) -> Completed:
        """Run a shell command to its end.

        Args:
            cmd: command line for the remote shell.
            timeout: seconds at reference speed.
            stdin: its input, followed by end of file.
            check: raise CommandFailed for a status other than 0.
        Raises: CommandFailed, MachineLost.
        """
        with self.stream(cmd, timeout=timeout) as stream:
            if stdin:
                stream.stdin_write(stdin)
            stream.stdin_close()
            out = "".join(line + "\n" for line in stream)
            if stream.unended and out:
                out = out[:-1]
            done = Completed(rc=stream.rc, out=out, err=stream.err)
        if check and done.rc:
            tail = "\n".join((done.err or done.out).strip().splitlines()[-8:])
            raise CommandFailed(
                f"{self.name}: `{cmd if len(cmd) < 200 else cmd[:200] + '...'}` ended with status {done.rc}"
                + (f":\n{tail}" if tail else ""),
                completed=done,
                hint=f"try it manually: evh shell {self.name.removeprefix('guest:')}",
            )
        return done

    def stream(self, cmd: str, *, timeout: float | None, silence: float | None = None) -> Stream:
        """Start a shell command, and return its output as a stream of lines.

        Args:
            timeout: seconds at reference speed, for the whole command; None if it has no end of its own.
                The server must start it in any case.
            silence: the longest pause allowed in its output, seconds at
                reference speed; None for no limit.
        Raises: MachineLost; InfraError: the connection broke.
        """
        self.connect()
        assert self._transport is not None
        self.watchdog.check()
        total = START_SECONDS if timeout is None else timeout
        seconds = total * self.watchdog.time_scale
        late = threading.Event()
        with self.watchdog.on_loss(self._transport.close), contextlib.ExitStack() as stack:
            try:
                channel = self._transport.open_session(timeout=seconds)
                # paramiko waits without a limit for the server's answer to this request.
                stack.enter_context(_closed_after(channel, seconds, late))
                channel.exec_command(cmd)
            except (EOFError, OSError, paramiko.SSHException) as error:
                # paramiko has no exception class for this: it is connected, but the server does not answer.
                if late.is_set() or "Timeout opening channel" in str(error):
                    self.watchdog.check()
                    what = f"{self.name} to start: {cmd}"
                    raise no_answer(what, watchdog=self.watchdog, total=total) from error
                self.explain(error)
        return Stream(self, cmd, channel, timeout=NEVER if timeout is None else timeout, silence=silence)

    def shell(self, *, term: str, width: int, height: int) -> paramiko.Channel:
        """Open an interactive login shell on its own terminal.

        Args:
            term: value of TERM.
            width, height: of the terminal, in characters.
        Raises: MachineLost; InfraError: the connection broke.
        """
        self.connect()
        assert self._transport is not None
        try:
            channel = self._transport.open_session(timeout=30 * self.watchdog.time_scale)
            channel.get_pty(term, width, height)
            channel.invoke_shell()
        except (EOFError, OSError, paramiko.SSHException) as error:
            self.explain(error)
        return channel

    def put(self, data: bytes, path: str, *, mode: int = 0o644, timeout: float = 60.0) -> None:
        """Write a file, atomically.

        Args:
            timeout: seconds at reference speed.
        Raises: CommandFailed, MachineLost.
        """
        quoted = shlex.quote(path)
        self.run(
            f"cat > {quoted}.new && chmod {mode:o} {quoted}.new && mv {quoted}.new {quoted}",
            timeout=timeout,
            stdin=data,
        )

    def explain(self, error: Exception) -> NoReturn:
        """Raise the reason for a broken connection.

        Usually the machine was lost, which the watchdog may notice a little later than this connection.
        """
        end = time.monotonic() + 1.0
        while not self.watchdog.lost and (left := end - time.monotonic()) > 0:
            self.watchdog.poll(None, left)
        self.watchdog.check()
        raise InfraError(
            f"the SSH connection to {self.name} broke: {error or type(error).__name__}",
            hint="see the consoles in the run folder for messages of its kernel or SSH server",
        ) from error

    def close(self) -> None:
        """Close the connection, and with it every command's channel."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


@contextmanager
def _closed_after(channel: paramiko.Channel, seconds: float, late: threading.Event) -> Iterator[None]:
    """Close `channel`, and set `late`, unless the block ends within `seconds`."""

    def close() -> None:
        late.set()
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # the connection has gone, too
            channel.close()

    timer = threading.Timer(seconds, close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
