# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's clock jumps by an hour, forwards and back, while a machine runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import Fault

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
BODY = """
def test_a(dom0):
    injected()
    for offset in ("+3600s", "-7200s"):
        Path("clock").write_text(offset)
        dom0.run("sleep 2", timeout=30)
"""


@pytest.mark.skipif(not LIBRARY.exists(), reason="the package libfaketime is not installed")
def test_clock_jumps(fault: Fault) -> None:
    clock = fault.folder / "clock"
    clock.write_text("+0s")
    fault.env |= {
        "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    child = fault.run("run", body=BODY)
    assert child.returncode == 0, fault.text()
    fault.expect("the clock jumps by an hour, then back by two", verdict="pass", within=9000)
