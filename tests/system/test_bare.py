# SPDX-License-Identifier: GPL-2.0-or-later
"""Deterministic boots of bare guests: the same seed gives the same console; replay and gdb."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import make_host

from harness.core.progress import Progress
from harness.core.records import Accelerator, Built, Verdict
from harness.machine import bare, direct
from harness.machine.accelerator import choose_accelerator
from harness.machine.bare import BareSpec
from harness.plan.selection import select
from harness.run.backends import real_backends
from harness.run.request import RunRequest
from harness.run.run import run

TCG = Accelerator(kind="tcg", reason="TCG: a test")
# One CPU, so that QEMU can record it; a test that sends an event, so that the breakpoint in Xen is hit.
FILE = """
import pytest

@pytest.mark.cell(guest="bare-pv64", abi="3l")
def test_wrong(bare, seed):
    run = bare("bare-pv64", suite="conformance", test=CASE, seed=seed, vcpus=1, deterministic=True)
    assert run.case(CASE).ok and seed != 7

CASE = "delivery_sets_every_level_and_the_upcall"
"""


def race(built: Built, folder: Path, seed: int) -> bytes:
    run = bare.boot_spec(
        BareSpec(kind="bare-pv64", suite="race", seed=seed, rounds=40, deterministic=True),
        xen=built.xen, guests=built.bare, accelerator=TCG, run_dir=folder,
    )  # fmt: skip
    assert run.verdict is Verdict.PASS, run.reason
    return run.console.read_bytes()


def test_same_seed_same_console_wherever_it_runs(built: Built, tmp_path: Path) -> None:
    """Two racing vCPUs; Xen prints the time stamp counter before each of its lines."""
    first = race(built, tmp_path / "a", seed=1)
    assert b"(XEN) [0000" in first
    assert race(built, tmp_path / ("folder, and a long one, " + "x" * 100), seed=1) == first
    other = race(built, tmp_path / "b", seed=2)
    assert other.replace(b"seed 2", b"seed 1").replace(b"seed=2", b"seed=1") != first


def test_every_boot_uses_the_accelerator_that_a_trial_boot_has_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a host whose KVM looks as if it could nest Xen, whether it can or not."""
    (tmp_path / "host").mkdir()
    monkeypatch.chdir(tmp_path)
    chosen = choose_accelerator(root=make_host(tmp_path / "host"))
    assert (chosen.kind, chosen.proven) == ("kvm", False)
    words: list[list[str]] = []
    plain = direct.watch

    def watch(argv: Sequence[str], **rest: Any) -> direct.Watched:
        words.append(list(argv))
        return plain(argv, **rest)

    monkeypatch.setattr(direct, "watch", watch)
    cells = "lowest_free_port_first or test_kunit and kunit64"
    request = RunRequest(
        selection=select(suites=["conformance", "kunit"], guests=["bare-pv64", "kunit64"], keyword=cells)
    )
    said = io.StringIO()
    with Progress(said) as progress:
        folder, record = run(
            request, progress=progress, backends=replace(real_backends(), choose=lambda want: chosen)
        )
    assert record.verdict is Verdict.PASS, said.getvalue()
    assert record.accelerator is not None and record.accelerator.proven
    kind = record.accelerator.kind
    assert f"accelerator: {record.accelerator.reason}\n" in said.getvalue()
    assert said.getvalue().splitlines()[0].endswith("a trial boot has yet to prove it")
    # The trial boot, then the two.
    assert [argv[argv.index("-accel") + 1] for argv in words] == ["kvm", kind, kind]
    assert [boot.accelerator for boot in record.boots] == [kind]
    assert all(boot.time_scale and boot.time_scale >= 1 for boot in record.boots)
    assert (folder / "kvm-proof").is_dir()


def evh(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def test_failed_cell_is_replayed_and_debugged_in_gdb(built: Built, tmp_path: Path) -> None:
    (tmp_path / "my_test.py").write_text(FILE)
    got = evh(tmp_path, "run", "my_test.py", "--seed", "7")
    assert got.returncode == 1, got.stdout + got.stderr
    (line,) = [line for line in got.stdout.splitlines() if line.startswith("again: evh repro ")]
    cell = line.split()[-1]
    assert cell.endswith("my_test::test_wrong/7")

    again = evh(tmp_path, "repro", cell)
    assert again.returncode == 1, again.stdout + again.stderr
    assert "the console is bit-identical with runs/" in again.stderr

    back = ("stepi", "reverse-stepi", "info registers rip")
    commands = ("break evtchn_3l_set_pending", "continue", "backtrace", *back)
    words = [word for command in commands for word in ("--gdb-command", command)]
    seen = evh(tmp_path, "repro", cell, "--gdb", *words)
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "the recording's console is bit-identical with the run's" in seen.stderr
    assert "Breakpoint 1, evtchn_3l_set_pending (v=0x" in seen.stdout
    assert "in do_event_channel_op (cmd=" in seen.stdout
    assert "<evtchn_3l_set_pending>" in seen.stdout, "stepped forward and back"

    changed = max(tmp_path.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime).parent
    console = changed / json.loads((changed / "run.json").read_text())["boots"][0]["console"]
    console.write_text(console.read_text().replace("KTAP", "KTAB"))
    wrong = evh(tmp_path, "repro", cell, "--run", str(changed))
    assert wrong.returncode == 4, "a different console is an error"
    assert "DIFFERS" in wrong.stderr


def test_unknown_cell_is_reported(tmp_path: Path) -> None:
    cell = "xen-4.20+linux-6.12/release/bare-pv64/3l/conformance::test_bare[x]/1"
    got = evh(tmp_path, "repro", cell, "--gdb")
    assert got.returncode == 2
    assert "no run under ./runs" in got.stderr
