# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots without libvirt: the console while the machine runs, and its deadline."""

from __future__ import annotations

from pathlib import Path

from harness.machine.direct import watch


def test_console_is_in_its_file_while_the_machine_runs(tmp_path: Path) -> None:
    """A killed run must keep the console so far."""
    console = tmp_path / "console.log"
    script = f"echo first; while ! grep -q first '{console}'; do :; done; echo second"
    lines, problem, late = watch(["sh", "-c", script], folder=tmp_path, console=console, deadline=20)
    assert (lines, problem, late) == (["first\n", "second\n"], "", False)
    assert console.read_text() == "first\nsecond\n"


def test_deadline_ends_it_and_the_console_stays(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    lines, problem, late = watch(
        ["sh", "-c", "echo first; exec sleep 100"], folder=tmp_path, console=console, deadline=0.5
    )
    assert (lines, problem, late) == (["first\n"], "", True)
    assert console.read_text() == "first\n"
