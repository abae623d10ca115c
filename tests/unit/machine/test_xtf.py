# SPDX-License-Identifier: GPL-2.0-or-later
"""XTF's consoles as recorded, and what counts as its checkout."""

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


def test_what_is_no_checkout_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a checkout of XTF"):
        files_of(tmp_path)


def test_what_was_built_in_a_checkout_is_no_part_of_it(tmp_path: Path) -> None:
    for name in ("xtf-runner", "tests/a/main.c", "tests/a/main-pv64.o", "tests/a/test-pv64-a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [Path("tests/a/main.c"), Path("xtf-runner")]


def test_suite_wants_its_checkout(tmp_path: Path) -> None:
    assert select(xtf=tmp_path).suites == (XTF,)
    assert select(suites=["smoke"], xtf=tmp_path).suites == ("smoke", XTF)
    with pytest.raises(UserError):
        select(suites=[XTF])
