# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk runs full at different places; the verdict is an error that says so, and no hang."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from faults import Fault

QUIET = """
def test_a(dom0):
    injected(); dom0.run("true", timeout=30)
"""
FILL = """
def test_a(dom0):
    injected()
    subprocess.run("dd if=/dev/zero of=runs/filler bs=64k", shell=True, capture_output=True)
    dom0.run("for i in $(seq 200); do echo line $i of many > /dev/console; done; sleep 600", timeout=600)
"""
GROW = """
def test_a(dom0):
    injected()
    dom0.run("dd if=/dev/urandom of=/root/big bs=1M count=200; sync", timeout=200)
"""
BETWEEN = """
def test_a(dom0):
    injected()
    subprocess.run("dd if=/dev/zero of=runs/filler bs=64k", shell=True, capture_output=True)
"""


@pytest.mark.parametrize(
    ("name", "size", "body", "verdict", "words"),
    [
        pytest.param("the run folder is full from the start (300 KiB)", "300k", QUIET, "error", "space|full",
                     id="start", marks=pytest.mark.quick),
        ("the run folder runs full while a console is written", "30m", FILL, "error", "space|not recorded"),
        ("the run folder runs full while nothing is written", "30m", BETWEEN, "error", "space"),
        ("dom0's temporary disk cannot grow", "60m", GROW, "error", "space|disk"),
    ],
)  # fmt: skip
def test_run_folder(
    fault: Fault, small_disk: Any, name: str, size: str, body: str, verdict: str, words: str
) -> None:
    small_disk.mount(fault.folder / "runs", size)
    fault.injected()
    fault.run("run", body=body, timeout=600)
    fault.expect(name, verdict=verdict, words=words, within=90)


@pytest.mark.parametrize("kind", ["tools", "bare", "guest", "xen"])
def test_store(fault: Fault, own_cache: Path, tmp_path: Path, small_disk: Any, kind: str) -> None:
    """The store's disk is full while an artifact is made."""
    fault.env["XDG_CACHE_HOME"] = str(own_cache)
    fault.cache = own_cache
    folder = own_cache / "evtchn-harness" / kind
    shutil.rmtree(folder)
    small_disk.mount(folder, "64k")
    fault.injected()
    child = fault.run("run", body=QUIET)
    assert child.returncode == 4, fault.text()
    fault.expect(f"the store is full while {kind} is made", verdict="error", words="space|full", within=600)


@pytest.mark.parametrize("variable", ["TMPDIR", "XDG_RUNTIME_DIR"])
def test_other_folders(fault: Fault, small_disk: Any, tmp_path: Path, variable: str) -> None:
    folder = small_disk.mount(tmp_path / "t", "16k")
    fault.env[variable] = str(folder)
    fault.injected()
    child = fault.run("run", body=QUIET)
    assert child.returncode in (0, 4), fault.text()
    if child.returncode:
        fault.expect(f"{variable} is full", verdict="error", words="space|full", within=120)
