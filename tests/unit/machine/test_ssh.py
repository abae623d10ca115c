# SPDX-License-Identifier: GPL-2.0-or-later
"""SSH to a real server in this process, which runs the commands in this host's shell."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.machine.ssh import SSH, CommandFailed, Keys
from harness.monitor.waits import MachineDied, TimedOut


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


def test_server_that_does_not_start_a_command_is_a_hang(ssh: SSH) -> None:
    """paramiko itself waits for its answer without a limit."""
    ssh.run("true", timeout=20)
    begin = time.monotonic()
    with pytest.raises(TimedOut, match="waiting for dom0 to start: no answer"):
        ssh.stream("no answer", timeout=0.5)
    assert time.monotonic() - begin < 10


def test_loss_of_the_machine_ends_the_wait_for_the_server(ssh: SSH) -> None:
    ssh.run("true", timeout=20)
    timer = threading.Timer(0.3, lambda: ssh.watchdog.lose(lambda: MachineDied("QEMU ended")))
    timer.start()
    with pytest.raises(MachineDied):
        ssh.stream("no answer", timeout=600)
