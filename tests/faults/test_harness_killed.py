# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness is killed by SIGKILL at each of its steps; nothing stays behind, and the next run works."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from faults import Fault

BODY = """
def test_a(dom0, start_guest):
    start_guest(name="a", kind="pv64").ssh.run("sleep 600", timeout=600)
"""
# What run.json says is under way, and the artifacts that are missing then.
STEPS = [
    ("collect tests", ()),
    ("build", ("tools", "bare")),
    ("boot machine 1", ()),
    ("start guest a", ()),
    ("test my_test::test_a", ()),
]


@pytest.mark.parametrize(
    ("step", "gone"),
    [
        pytest.param(*case, id=case[0], marks=[pytest.mark.quick] if "boot" in case[0] else [])
        for case in STEPS
    ],
)
def test_killed(fault: Fault, own_cache: Path, step: str, gone: tuple[str, ...]) -> None:
    fault.cache = own_cache
    fault.env["XDG_CACHE_HOME"] = str(own_cache)
    for kind in gone:
        shutil.rmtree(own_cache / "evtchn-harness" / kind)
    child = fault.start("run", body=BODY)
    fault.until(step, doing=step, child=child)
    fault.injected()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    left = fault.left_behind(within=20)
    half = [one for one in left.split(", ") if one.startswith("half artifact")]
    assert left == ", ".join(half), "only what the next build removes"
    said = fault.wait(fault.start("report"))
    assert "killed during" in said, said
    # What is half done must not be taken for whole.
    last = fault.run("build")
    assert last.returncode == 0, fault.text()
    told = next(line for line in said.splitlines() if "killed during" in line)
    assert fault.add(f"the harness is killed: {step}", "error", told, seconds=0) == ""
