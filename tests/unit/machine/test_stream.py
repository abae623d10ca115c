# SPDX-License-Identifier: GPL-2.0-or-later
"""A command's output, read from a real SSH server: what ends a wait for it."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from harness.machine import stream as module
from harness.machine.ssh import SSH
from harness.monitor.waits import GuestEnded, MachineDied, Silence, TimedOut, Watchdog


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


def test_command_without_an_end_has_no_deadline_but_its_first_line_may(ssh: SSH) -> None:
    with ssh.stream("echo a; sleep 0.6; echo b; read x", timeout=None) as stream:
        assert stream.readline(within=20) == "a"
        assert stream.readline() == "b"
        with pytest.raises(TimedOut):
            stream.readline(within=0.3)


def test_input_of_a_command_without_an_end(ssh: SSH) -> None:
    with ssh.stream("read x; echo got $x; read x", timeout=None, silence=20) as stream:
        stream.stdin_write(b"it\n")
        assert stream.readline() == "got it"


def test_reading_ends_with_the_loss_of_a_guest_while_it_is_watched(ssh: SSH) -> None:
    """Also where it is lost before; afterwards, the reader goes on without it."""
    guest = SimpleNamespace(watchdog=Watchdog(parent=ssh.watchdog))
    with ssh.stream("echo a; read x; echo b; read x", timeout=60) as stream:
        with stream.watching(guest):  # type: ignore[arg-type]
            assert stream.readline() == "a"
            timer = threading.Timer(0.3, lambda: guest.watchdog.lose(lambda: GuestEnded("it is gone")))
            timer.start()
            begin = time.monotonic()
            for _ in range(2):
                with pytest.raises(GuestEnded):
                    stream.readline()
            assert time.monotonic() - begin < 10
        stream.stdin_write(b"\n")
        assert stream.readline() == "b"


def test_deadlines_are_those_of_this_host(ssh: SSH) -> None:
    ssh.watchdog.time_scale = 3.0
    with ssh.stream("sleep 0.8; echo a; read x", timeout=60, silence=0.4) as stream:
        assert stream.readline() == "a"
        with pytest.raises(Silence, match=r"0\.4 s at reference speed, times 3"):
            stream.readline()
    assert module.START_SECONDS > 60
