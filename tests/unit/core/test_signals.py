# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that end the program cleanly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.core.paths import CHECKOUT


def test_ignored_sighup_stays_ignored(tmp_path: Path) -> None:
    program = (
        "import os, signal; from harness.core.signals import signals_end_cleanly\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with signals_end_cleanly(print): os.kill(os.getpid(), signal.SIGHUP); print('went on')"
    )
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT)
    assert (got.returncode, got.stdout) == (0, "went on\n")
