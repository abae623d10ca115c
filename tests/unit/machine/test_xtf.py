# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts on recorded XTF consoles, and which files belong to an XTF checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build.xtf import files_of
from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.machine.xtf import RESULT, judge
from harness.plan.selection import select
from harness.plan.suites import XTF

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
    assert judge(cut, late=True)[0] is Verdict.HANG
    assert judge(cut)[:2] == (Verdict.CRASH, "xtf")
    assert judge(cut, problem="no QEMU")[:2] == (Verdict.ERROR, "qemu")


def test_crash_of_xen_wins_over_success() -> None:
    assert judge([*log("success"), "(XEN) Panic on CPU 0:"])[:2] == (Verdict.CRASH, "xen")


def test_other_folder_is_not_accepted_as_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a checkout of XTF"):
        files_of(tmp_path)


def test_build_products_are_not_part_of_a_checkout(tmp_path: Path) -> None:
    for name in ("xtf-runner", "tests/a/main.c", "tests/a/main-pv64.o", "tests/a/test-pv64-a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [Path("tests/a/main.c"), Path("xtf-runner")]


def test_suite_needs_a_checkout(tmp_path: Path) -> None:
    assert select(xtf=tmp_path).suites == (XTF,)
    assert select(suites=["smoke"], xtf=tmp_path).suites == ("smoke", XTF)
    with pytest.raises(UserError):
        select(suites=[XTF])
