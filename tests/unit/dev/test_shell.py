# SPDX-License-Identifier: GPL-2.0-or-later
"""A shell on this terminal: a real terminal here, a socket in the place of the SSH channel."""

from __future__ import annotations

import io
import os
import pty
import socket
import sys
import termios
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import UserError
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
