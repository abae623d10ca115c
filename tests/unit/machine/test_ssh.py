# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to a real server in this process, which runs the commands in this host's shell."""

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
from harness.core.errors import InfraError
from harness.machine.ssh import SSH, CommandFailed, Keys
from harness.monitor.waits import MachineDied, Silence, TimedOut, Watchdog


class Server(paramiko.ServerInterface):
    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if username == "root" else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
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


def test_output_errors_and_status_of_a_command(ssh: SSH) -> None:
    done = ssh.run("cat; echo oops >&2; printf end; exit 3", timeout=20, stdin=b"in\n", check=False)
    assert (done.rc, done.out, done.err) == (3, "in\nend", "oops\n")


def test_failed_command_is_an_error_with_its_last_lines(ssh: SSH) -> None:
    with pytest.raises(CommandFailed, match="exit 1` ended with status 1:\n13\n") as caught:
        ssh.run("seq 20 >&2; exit 1", timeout=20)
    assert caught.value.completed.rc == 1
    assert "evh shell dom0" in caught.value.hint


def test_deadline_of_a_command(ssh: SSH) -> None:
    with pytest.raises(TimedOut, match="`read x` in dom0"):
        list(ssh.stream("read x", timeout=0.3))


def test_silence_of_a_command(ssh: SSH) -> None:
    with ssh.stream("echo a; read x", timeout=60, silence=0.3) as stream:
        assert stream.readline() == "a"
        with pytest.raises(Silence):
            stream.readline()


def test_loss_of_the_machine_ends_a_wait_at_once(ssh: SSH) -> None:
    with ssh.stream("echo a; read x", timeout=60) as stream:
        assert stream.readline() == "a"
        ssh.watchdog.lose(lambda: MachineDied("QEMU ended"))
        with pytest.raises(MachineDied):
            stream.readline()
    with pytest.raises(MachineDied):
        ssh.run("true", timeout=60)


def test_file_is_written_whole_with_its_mode(ssh: SSH, tmp_path: Path) -> None:
    path = tmp_path / "a b"
    data = bytes(range(256)) * 1000
    ssh.put(data, str(path), mode=0o600)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_host_with_another_key_is_refused(ssh: SSH, keys: Path) -> None:
    other = Keys.load(private=keys / "id_key", host=keys / "id_key.pub")
    with pytest.raises(InfraError, match="host key of dom0 is not the one of its image"):
        SSH(name="dom0", address=ssh.address, keys=other, watchdog=ssh.watchdog).connect(timeout=20)


def test_host_that_never_answers_is_a_hang_with_the_last_attempts_error(ssh: SSH, keys: Path) -> None:
    its = Keys.load(private=keys / "id_key", host=keys / "host_key.pub")
    with pytest.raises(TimedOut) as caught:
        SSH(name="dom0", address=("127.0.0.1", 1), keys=its, watchdog=ssh.watchdog).connect(timeout=0.3)
    assert "Connection refused" in caught.value.hint


@pytest.mark.parametrize("text", ["ssh-ed25519", "ssh-ed25519 !", "no-such-kind AAAA"])
def test_keys_that_are_none_are_an_error(keys: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "host.pub").write_text(text)
    with pytest.raises(InfraError, match="cannot read the images' SSH keys"):
        Keys.load(private=keys / "id_key", host=tmp_path / "host.pub")
