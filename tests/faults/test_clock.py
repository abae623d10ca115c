# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's clock is set while a run goes on; every wait and duration is by a clock that nobody sets."""

from __future__ import annotations

import time
from pathlib import Path

import libfaketime
import pytest
from faults import Fault

BODY = """
def test_a(dom0, start_guest):
    guest = start_guest(name="a", kind="pv64")
    Path("clock").write_text(os.environ["JUMP"])
    injected()
    for _ in range(20):
        assert guest.ssh.run("sleep 0.1; echo here", timeout=60).out == "here\\n"
"""


@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_clock_is_set(fault: Fault, jump: str) -> None:
    library, *_ = Path(libfaketime.__file__).parent.rglob("libfaketime.so.1")
    clock = fault.folder / "clock"
    clock.write_text("+0")
    fault.env |= {
        "JUMP": jump,
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    began = time.monotonic()
    child = fault.run("run", body=BODY)
    took = time.monotonic() - began
    assert child.returncode == 0, fault.text()
    record = fault.record()
    stamps = [record["started"][:10], record["updated"][:10]]
    assert stamps == sorted(stamps, reverse=jump == "-1d") and stamps[0] != stamps[1], "the clock was not set"
    assert 0 < record["seconds"] <= took
    for one in record["tests"]:
        assert 0 < one["seconds"] <= took
    assert fault.add(f"the host's clock is set: {jump}", "pass", "", seconds=0) == ""
