# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that end the program cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.paths import CHECKOUT
from harness.core.signals import Interrupted, signals_end_cleanly


def test_ignored_sighup_stays_ignored(tmp_path: Path) -> None:
    program = (
        "import os, signal; from harness.core.signals import signals_end_cleanly\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with signals_end_cleanly(print): os.kill(os.getpid(), signal.SIGHUP); print('went on')"
    )
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT)
    assert (got.returncode, got.stdout) == (0, "went on\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_interrupts_and_a_second_one_only_says_so(number: signal.Signals) -> None:
    said: list[str] = []
    before = signal.getsignal(number)
    with signals_end_cleanly(said.append) as came:
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), number)
            time.sleep(5)
        os.kill(os.getpid(), number)
        time.sleep(0)
        assert came == [number, number]
    assert (caught.value.number, str(caught.value)) == (number, number.name)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert said == ["still cleaning up; this takes a few seconds"]
    assert signal.getsignal(number) is before
