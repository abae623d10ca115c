# SPDX-License-Identifier: GPL-2.0-or-later
"""A shell on this terminal: a real terminal here, a socket in the place of the SSH channel."""

from __future__ import annotations

import io
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.dev.shell import interactive


def test_without_a_terminal_it_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(UserError, match="needs a terminal") as caught:
        interactive(SimpleNamespace())  # type: ignore[arg-type]
    assert "--command" in caught.value.hint


class Channel:
    """paramiko's channel, as far as a shell uses it."""

    def __init__(self, end: socket.socket, status: int) -> None:
        self._end, self.exit_status = end, status
        self.status_event = threading.Event()
        self.status_event.set()
        self.fileno, self.recv, self.sendall, self.close = end.fileno, end.recv, end.sendall, end.close


@pytest.mark.parametrize(("status", "want"), [(7, 7), (-1, 0)])
def test_keys_go_out_output_comes_in_and_the_terminal_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, want: int
) -> None:
    keyboard, terminal = pty.openpty()
    ours, theirs = socket.socketpair()
    asked: dict[str, Any] = {}
    before = termios.tcgetattr(terminal)

    def shell(**words: Any) -> Channel:
        asked.update(words)
        return Channel(ours, status)

    def remote() -> None:
        with theirs:
            assert theirs.recv(100) == b"\x03"  # Ctrl-C is for the remote shell
            theirs.sendall(b"bye\r\n")

    peer = threading.Thread(target=remote)
    peer.start()
    raw = threading.Timer(0.2, os.write, (keyboard, b"\x03"))
    raw.start()
    with open(terminal, closefd=False) as stdin, (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setenv("TERM", "vt220")
        assert interactive(SimpleNamespace(shell=shell)) == want  # type: ignore[arg-type]
        monkeypatch.undo()
    peer.join()
    assert asked["term"] == "vt220" and asked["width"] > 0
    assert (tmp_path / "out").read_bytes() == b"bye\r\n"
    assert termios.tcgetattr(terminal) == before
    os.close(keyboard)
    os.close(terminal)


PROGRAM = """
import subprocess, sys
from harness.dev.shell import command

class Stream:
    "A local command in the place of one over SSH."
    def __init__(self, text):
        self.child = subprocess.Popen(["sh", "-c", text], stdin=-1, stdout=-1, stderr=-1, bufsize=0)
        self.on_stderr = None
    def stdin_write(self, data): self.child.stdin.write(data)
    def stdin_close(self): self.child.stdin.close()
    def read(self):
        data = self.child.stdout.read(1000)
        if not data: self.on_stderr(self.child.stderr.read())
        return data
    @property
    def rc(self): return self.child.wait()
    def __enter__(self): return self
    def __exit__(self, *exc): self.child.kill()

class SSH:
    def stream(self, text, timeout): return Stream(text)

sys.exit(command(SSH(), sys.argv[1]))
"""


def run_there(text: str, **words: Any) -> subprocess.CompletedProcess[bytes]:
    """`evh shell -c TEXT` in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, text]
    return subprocess.run(command, cwd=CHECKOUT, timeout=60, **words)


def test_each_byte_of_the_three_streams_is_passed_on() -> None:
    data = bytes(range(256)) * 2000 + b"no newline at the end"
    got = run_there("cat; echo no >&2; exit 7", input=data, capture_output=True)
    assert (got.stdout, got.stderr, got.returncode) == (data, b"no\n", 7)


def test_a_command_that_reads_nothing_ends_though_input_is_left() -> None:
    read, write = os.pipe()  # never closed, never written: as a terminal
    got = run_there("echo done", stdin=read, capture_output=True)
    assert (got.stdout, got.returncode) == (b"done\n", 0)
    os.close(write)
    os.close(read)
    got = run_there("exec 0<&-; echo done", input=b"x" * 1_000_000, capture_output=True)
    assert (got.stdout, got.stderr, got.returncode) == (b"done\n", b"", 0)


def test_without_input_the_command_sees_the_end() -> None:
    got = run_there("cat; echo end", stdin=subprocess.DEVNULL, capture_output=True)
    assert got.stdout == b"end\n"
