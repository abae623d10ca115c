# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor of a real QEMU without a guest, which writes its memory and reads it back."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import InfraError
from harness.machine import qemu
from harness.machine.qemu import Monitor
from harness.monitor.waits import MachineDied, Watchdog

QEMU = shutil.which("qemu-system-x86_64")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="no qemu-system-x86_64")


class Direct:
    """In the place of libvirt: passes commands on to QEMU's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        self._file.readline()
        self.command('{"execute": "qmp_capabilities"}')

    def command(self, text: str) -> str:
        self._file.write(text + "\n")
        self._file.flush()
        while "event" in json.loads(line := self._file.readline()):
            pass
        return line

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def started(folder: Path, *words: str) -> Iterator[Monitor]:
    path = folder / "qmp"
    path.unlink(missing_ok=True)
    command = [
        str(QEMU), "-accel", "tcg", "-machine", "q35", "-m", "64", "-nodefaults", "-display", "none", "-S",
        "-qmp", f"unix:{path},server=on,wait=off", "-daemonize", "-pidfile", str(folder / "pid"), *words,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    direct = Direct(path)
    watchdog = Watchdog()
    try:
        yield Monitor(direct, watchdog)
    finally:
        direct.command('{"execute": "quit"}')
        direct.close()
        watchdog.close()


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def passed_on(domain: Direct, text: str, flags: int) -> str:
        if flags:
            text = json.dumps({"execute": "human-monitor-command", "arguments": {"command-line": text}})
            return str(json.loads(domain.command(text))["return"])
        return domain.command(text)

    monkeypatch.setattr(qemu.libvirt_qemu, "qemuMonitorCommand", passed_on)


@needs_qemu
def test_machine_is_saved_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    with started(tmp_path) as monitor:
        monitor.save(file)
        assert monitor.execute("query-status")["status"] == "postmigrate"
        monitor.execute("cont")
        assert monitor.execute("query-status")["status"] == "running"
    assert file.stat().st_size > 64 << 20
    assert file.stat().st_blocks * 512 < 16 << 20, "zero pages are holes"
    with started(tmp_path, "-incoming", "defer") as monitor:
        monitor.load(file)
        assert monitor.execute("query-status")["status"] != "inmigrate"
        monitor.execute("cont")
        assert monitor.execute("query-status")["status"] == "running"


@needs_qemu
def test_what_qemu_refuses_is_told(tmp_path: Path) -> None:
    with started(tmp_path) as monitor:
        with pytest.raises(InfraError, match="QEMU refuses no-such-command"):
            monitor.execute("no-such-command")
        with pytest.raises(InfraError, match=r"QEMU (refuses migrate|cannot write)"):
            monitor.save(tmp_path / "no such folder" / "memory")
        with pytest.raises(InfraError, match="QEMU forwards no port"):
            monitor.forward_ssh()


def test_death_of_qemu_explains_why_it_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(domain: Any, text: str, flags: int) -> str:
        raise qemu.libvirt.libvirtError("monitor closed")

    monkeypatch.setattr(qemu.libvirt_qemu, "qemuMonitorCommand", fails)
    watchdog = Watchdog()
    monitor = Monitor(None, watchdog)
    with pytest.raises(InfraError, match="monitor does not answer"):
        monitor.human("info status")
    watchdog.lose(lambda: MachineDied("QEMU was killed"))
    with pytest.raises(MachineDied):
        monitor.execute("cont")
    watchdog.close()
