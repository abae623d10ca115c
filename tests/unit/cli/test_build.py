# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `evh build`, without a build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.core.paths import CHECKOUT


def test_signal_during_a_build_is_no_traceback_and_its_own_exit_code(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time; from harness.build import graph; from harness.cli import app\n"
        "def slow(**words):\n    try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)\n"
        "    finally: print('cleaned up')\n"
        "graph.build = slow; sys.argv = ['evh', 'build']; app.main()"
    )
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=30)
    assert got.returncode == 128 + 15
    assert "cleaned up" in got.stdout
    assert "ended by SIGTERM" in got.stderr and "Traceback" not in got.stderr
