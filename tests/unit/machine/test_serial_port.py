# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's serial port, with a plain socket in QEMU's place."""

from __future__ import annotations

import errno
import queue
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from harness.machine.serial_port import SerialPort


@contextmanager
def port(folder: Path, *, into: Callable[[bytes], object] | None = None) -> Iterator[SimpleNamespace]:
    """A port, and what it passes on: output as bytes, its end as None, a failure as the exception."""
    heard: queue.Queue[bytes | Exception | None] = queue.Queue()
    path = folder / "serial"
    its = SerialPort(path, on_data=into or heard.put, ended=lambda: heard.put(None), failed=heard.put)
    its_end = SimpleNamespace(port=its, path=path, heard=heard, closed=False)
    try:
        yield its_end
    finally:
        if not its_end.closed:
            its.close()


def qemu(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(str(path))
    return peer


def test_output_arrives_and_keys_are_typed(tmp_path: Path) -> None:
    with port(tmp_path) as its, qemu(its.path) as peer:
        peer.sendall(b"(XEN) hello\n")
        assert its.heard.get(timeout=10) == b"(XEN) hello\n"
        assert its.port.connected
        its.port.send(b"\x01\x01\x01q")
        assert peer.recv(16) == b"\x01\x01\x01q"


def test_end_of_qemu_is_told_once_and_keys_are_dropped_from_then_on(tmp_path: Path) -> None:
    with port(tmp_path) as its:
        with qemu(its.path) as peer:
            peer.sendall(b"last words")
        assert its.heard.get(timeout=10) == b"last words"
        assert its.heard.get(timeout=10) is None
        assert not its.port.connected
        its.port.send(b"q")
    assert its.heard.empty()


def test_closing_ends_the_connection_and_tells_it(tmp_path: Path) -> None:
    with port(tmp_path) as its, qemu(its.path) as peer:
        peer.sendall(b"x")
        assert its.heard.get(timeout=10) == b"x"
        its.port.close()
        its.closed = True
        assert its.heard.get(timeout=10) is None
        assert peer.recv(1) == b""


def test_qemu_that_never_came_has_not_ended(tmp_path: Path) -> None:
    with port(tmp_path) as its:
        its.port.send(b"q")
    assert its.heard.empty()


def test_a_recording_that_fails_is_told_and_not_silent(tmp_path: Path) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        port(tmp_path, into=full.write) as its,
        qemu(its.path) as peer,
    ):
        peer.sendall(b"x")
        error = its.heard.get(timeout=10)
        assert isinstance(error, OSError) and error.errno == errno.ENOSPC
        assert not its.port.connected
    assert its.heard.empty(), "its end is not told"
