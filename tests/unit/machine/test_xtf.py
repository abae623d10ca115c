# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts on recorded XTF consoles."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.records import Verdict
from harness.machine.xtf import RESULT, judge

LOGS = Path(__file__).parents[1] / "logs"


def log(name: str) -> list[str]:
    return (LOGS / f"xtf-{name}.log").read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "verdict", "layer", "reason"),
    [
        ("success", Verdict.PASS, "", ""),
        ("failure", Verdict.FAIL, "xen", "Fail: "),
        ("skip", Verdict.SKIP, "", "Skip: Argo"),
        ("error", Verdict.ERROR, "xtf", "Error: Insufficient vcpus"),
        ("crash", Verdict.CRASH, "dom0", "Hardware Dom0 crashed"),
    ],
)
def test_recorded(name: str, verdict: Verdict, layer: str, reason: str) -> None:
    got = judge(log(name))
    assert got[:2] == (verdict, layer)
    assert reason in got[2]


def test_without_a_result_it_is_never_a_pass() -> None:
    cut = [line for line in log("success") if not line.startswith(RESULT)]
    assert judge(cut, late="90 s")[0] is Verdict.HANG
    assert judge(cut)[:2] == (Verdict.CRASH, "xtf")
    assert judge(cut, problem="no QEMU")[:2] == (Verdict.ERROR, "qemu")


def test_crash_of_xen_wins_over_success() -> None:
    assert judge([*log("success"), "(XEN) Panic on CPU 0:"])[:2] == (Verdict.CRASH, "xen")
