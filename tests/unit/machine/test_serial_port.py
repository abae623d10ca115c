# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial port over a real socket: what arrives, its end, and a disk that is full."""

import errno
import socket
import threading
from pathlib import Path

import pytest

from harness.machine.serial_port import SerialPort


class Ear:
    def __init__(self) -> None:
        self.data = b""
        self.ended = threading.Event()
        self.failures: list[Exception] = []
        self.failed = threading.Event()

    def heard(self, data: bytes) -> None:
        self.data += data

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.failed.set()


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "serial"


def connect(path: Path) -> socket.socket:
    qemu = socket.socket(socket.AF_UNIX)
    qemu.connect(str(path))
    return qemu


def test_everything_is_passed_on_and_then_its_end(path: Path) -> None:
    ear = Ear()
    port = SerialPort(path, heard=ear.heard, ended=ear.ended.set, failed=ear.fail)
    with connect(path) as qemu:
        qemu.sendall(b"(XEN) up\n")
    assert ear.ended.wait(10)
    port.close()
    assert (ear.data, ear.failures) == (b"(XEN) up\n", [])


def test_a_recording_that_fails_is_told_and_not_silent(path: Path) -> None:
    ear = Ear()
    with Path("/dev/full").open("wb", buffering=0) as full:
        port = SerialPort(path, heard=full.write, ended=ear.ended.set, failed=ear.fail)
        with connect(path) as qemu:
            qemu.sendall(b"(XEN) up\n")
            assert ear.failed.wait(10)
        port.close()
    (error,) = ear.failures
    assert isinstance(error, OSError) and error.errno == errno.ENOSPC
    assert not ear.ended.is_set() and not port.connected
