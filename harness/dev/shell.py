# SPDX-License-Identifier: GPL-2.0-or-later
"""A shell or one command in dom0 or a guest, on this terminal or with this process' standard streams."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from typing import TYPE_CHECKING, Any

from harness.core.errors import EvhError, UserError

if TYPE_CHECKING:
    import paramiko

    from harness.machine.ssh import SSH
    from harness.machine.stream import Stream

STDIN, STDOUT, STDERR = 0, 1, 2
# Seconds that one command may take.
LONGEST = 24 * 3600.0
_CHUNK = 64 << 10


def command(ssh: SSH, text: str) -> int:
    """Run one command there as if it were here: each byte of its three standard streams is passed on.

    Returns:
        Its exit status.

    Raises:
        MachineLost; BrokenPipeError: nobody reads the output any more.
    """
    with ssh.stream(text, timeout=LONGEST) as stream:
        stream.on_stderr = lambda data: _write(STDERR, data)
        # It may wait for input that never comes, so nobody waits for it.
        threading.Thread(target=_send_input, args=(stream,), name="stdin", daemon=True).start()
        while data := stream.read():
            _write(STDOUT, data)
        return stream.rc


def _send_input(stream: Stream) -> None:
    # A command that has ended reads no more; and this process may have no input.
    with contextlib.suppress(EvhError, OSError):
        while data := os.read(STDIN, _CHUNK):
            stream.stdin_write(data)
    stream.stdin_close()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def interactive(ssh: SSH) -> int:
    """Connect this terminal to a remote login shell.

    Returns:
        The shell's exit status.

    Raises:
        UserError: stdin is not a terminal.
    """
    if not sys.stdin.isatty():
        raise UserError(
            "an interactive shell needs a terminal",
            hint="For one command: evh shell NAME --command 'xl list'.",
        )
    size = shutil.get_terminal_size()
    channel = ssh.shell(term=os.environ.get("TERM", "vt100"), width=size.columns, height=size.lines)
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)

    def resized(number: int, frame: object) -> None:
        now = shutil.get_terminal_size()
        channel.resize_pty(now.columns, now.lines)

    old = signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(stdin)
        _pump(channel, stdin)
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old)
        # The status arrives after the last output, and can no longer be read after close().
        channel.status_event.wait(5)
        status = channel.exit_status
        channel.close()
    return max(status, 0)


def _pump(channel: paramiko.Channel, stdin: int) -> None:
    while True:
        both: list[Any] = [channel, stdin]
        ready, _, _ = select.select(both, [], [])
        if channel in ready:
            data = channel.recv(64 << 10)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if stdin in ready:
            data = os.read(stdin, 4096)
            if not data:
                return
            channel.sendall(data)
