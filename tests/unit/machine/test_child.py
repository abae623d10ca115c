# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that another one left behind is waited for at once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from harness.core import paths
from harness.machine.child import Child

# Starts a program in the background, as libvirt does, and does not wait for it.
PARENT = """
    import os, subprocess, sys, time
    from harness.machine.child import Child, adopt_orphans
    assert adopt_orphans() and adopt_orphans()
    command = ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]
    pid = int(subprocess.run(command, capture_output=True, text=True).stdout)
    child = Child(pid)
    began = time.monotonic()
    if sys.argv[1] == "itself":
        os.kill(pid, 9)
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.01)
            assert time.monotonic() - began < 20, "nobody has waited for it"
    child.kill()
    assert not os.path.exists(f"/proc/{pid}")
    print(subprocess.run(["sh", "-c", "exit 3"]).returncode)
"""


@pytest.mark.parametrize("how", ["killed", "itself"])
def test_orphan_leaves_no_zombie_and_other_children_are_left_alone(how: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PARENT), how]
    env = os.environ | {"PYTHONPATH": str(paths.CHECKOUT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_process_of_somebody_else_is_only_killed(tmp_path: Path) -> None:
    """Whose parent waits for it: here, Popen."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        # Popen must not see its child taken away, so the thread's wait is somebody else's here.
        child = Child(process.pid)
        began = time.monotonic()
        child.kill()
        assert time.monotonic() - began < 10


def test_process_that_is_gone_is_an_error() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(OSError):
        Child(process.pid)
