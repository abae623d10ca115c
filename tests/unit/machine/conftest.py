# SPDX-License-Identifier: GPL-2.0-or-later
"""A real SSH server in this process, which runs the commands in this host's shell."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from harness.build.images import make_keys
from harness.machine.ssh import SSH, Keys
from harness.monitor.waits import Watchdog


class Server(paramiko.ServerInterface):
    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if username == "root" else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if command == b"no answer":
            threading.Event().wait(30)
        threading.Thread(target=execute, args=(channel, command.decode()), daemon=True).start()
        return True


def execute(channel: paramiko.Channel, command: str) -> None:
    child = subprocess.Popen(
        ["sh", "-c", command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip
    assert child.stdin and child.stdout and child.stderr

    def feed() -> None:
        assert child.stdin
        with contextlib.suppress(OSError):
            while data := channel.recv(4096):
                child.stdin.write(data)
            child.stdin.close()

    threading.Thread(target=feed, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := child.stdout.read(4096):
            channel.sendall(data)
        channel.sendall_stderr(child.stderr.read())
    with contextlib.suppress(OSError, EOFError):
        channel.send_exit_status(child.wait())
        channel.close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder)
    return folder


@pytest.fixture
def ssh(keys: Path) -> Iterator[SSH]:
    transports: list[paramiko.Transport] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    transports.append(paramiko.Transport(peer))
                    transports[-1].add_server_key(
                        paramiko.Ed25519Key.from_private_key_file(str(keys / "host_key"))
                    )
                    transports[-1].start_server(event=threading.Event(), server=Server())

        threading.Thread(target=serve, daemon=True).start()
        its = SSH(
            name="dom0", address=listener.getsockname(), watchdog=Watchdog(),
            keys=Keys.load(private=keys / "id_key", host=keys / "host_key.pub"),
        )  # fmt: skip
        yield its
        its.close()
        for transport in transports:
            transport.close()
        listener.shutdown(socket.SHUT_RDWR)
