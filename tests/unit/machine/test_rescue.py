# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory out of a real QEMU whose guest has ended it, and what is said where there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.machine.rescue import Rescue
from harness.monitor.gcov import RWDATA

QEMU = ["qemu-system-x86_64", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-no-reboot"]
# Firmware that finds nothing to boot resets the machine at once, which -no-reboot makes its end.
ENDS = ["-boot", "reboot-timeout=1"]


@pytest.fixture
def rescue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rescue:
    names = dict(zip(RWDATA, (0xF0000, 0xF0010), strict=True))
    monkeypatch.setattr("harness.machine.rescue.symbols", lambda syms, wanted: names)
    return Rescue(syms=tmp_path, dest=tmp_path / "saved")


def test_memory_is_saved_when_the_guest_has_ended(tmp_path: Path, rescue: Rescue) -> None:
    folder = tmp_path / ("a folder whose name is too long for a socket " + "x" * 100)
    folder.mkdir()
    with rescue.beside(folder) as words:
        assert subprocess.run([*QEMU, *ENDS, *words], cwd=folder, timeout=60).returncode == 0
    assert rescue.problem == ""
    assert (tmp_path / "saved").stat().st_size == 16


def test_a_qemu_that_goes_away_is_said(tmp_path: Path, rescue: Rescue) -> None:
    with rescue.beside(tmp_path) as words:
        qemu = subprocess.Popen([*QEMU, "-S", *words], cwd=tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            qemu.wait(1)  # it is up, and nothing ends its guest
        qemu.kill()
        qemu.wait()
    assert rescue.problem.startswith("QEMU: ")
    assert not (tmp_path / "saved").exists()


def test_a_qemu_that_never_came_is_said(tmp_path: Path, rescue: Rescue) -> None:
    with rescue.beside(tmp_path):
        pass
    assert "never came" in rescue.problem
    assert not (tmp_path / "saved").exists()


def test_xen_that_has_moved_is_said(
    tmp_path: Path, rescue: Rescue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "_symbols", dict(zip(RWDATA, (1 << 62, 1 << 62), strict=True)))
    with rescue.beside(tmp_path) as words:
        subprocess.run([*QEMU, *ENDS, *words], cwd=tmp_path, timeout=60)
    assert rescue.problem and not (tmp_path / "saved").exists()
