# SPDX-License-Identifier: GPL-2.0-or-later
"""What the exceptions that end a test say about its verdict."""

from __future__ import annotations

import pytest

from harness.core.errors import EvhError, InfraError, UserError
from harness.core.records import Verdict
from harness.machine.ssh import CommandFailed, Completed
from harness.monitor.waits import Crash, MachineCrashed, MachineDied, Silence, TimedOut
from harness.run.endings import classify

PANIC = Crash(layer="xen", line="(XEN) Panic on CPU 0:\r", seconds=1.0, excerpt="...")


@pytest.mark.parametrize(
    ("error", "verdict", "layer"),
    [
        (AssertionError("4095 != 4096"), Verdict.FAIL, ""),
        (pytest.fail.Exception("no"), Verdict.FAIL, ""),
        (pytest.skip.Exception("needs 8 GiB"), Verdict.SKIP, ""),
        (pytest.fail.Exception("Timeout (>1800.0s) from pytest-timeout."), Verdict.HANG, ""),
        (MachineCrashed("xen crashed", crash=PANIC), Verdict.CRASH, "xen"),
        (MachineDied("QEMU is gone"), Verdict.CRASH, "qemu"),
        (TimedOut("too long"), Verdict.HANG, ""),
        (Silence("no sound"), Verdict.HANG, ""),
        (CommandFailed("status 1", completed=Completed(rc=1, out="", err="")), Verdict.FAIL, ""),
        (InfraError("no space"), Verdict.ERROR, ""),
        (UserError("no such tree"), Verdict.ERROR, ""),
        (EvhError("?"), Verdict.ERROR, ""),
        (KeyError("x"), Verdict.ERROR, ""),
        (OSError("broken"), Verdict.ERROR, ""),
    ],
)
def test_kind_of_exception(error: BaseException, verdict: Verdict, layer: str) -> None:
    ending = classify(error)
    assert (ending.verdict, ending.layer) == (verdict, layer)
    assert ending.reason


def test_lost_machine_is_found_behind_the_error_it_caused() -> None:
    try:
        try:
            raise MachineDied("QEMU is gone")
        except MachineDied as e:
            raise OSError("channel closed") from e
    except OSError as e:
        explicit = classify(e)
    try:
        try:
            raise TimedOut("too long")
        except TimedOut:
            raise AssertionError("clean-up failed")  # noqa: B904
    except AssertionError as e:
        implicit = classify(e)
    assert (explicit.verdict, explicit.layer) == (Verdict.CRASH, "qemu")
    assert implicit.verdict is Verdict.HANG


def test_hidden_context_is_not_searched() -> None:
    try:
        try:
            raise TimedOut("expected by the test")
        except TimedOut:
            raise AssertionError("wrong answer") from None
    except AssertionError as e:
        assert classify(e).verdict is Verdict.FAIL


def test_a_hang_behind_a_skip_is_a_hang() -> None:
    try:
        try:
            raise TimedOut("no answer")
        except TimedOut:
            pytest.skip("slow")
    except pytest.skip.Exception as error:
        assert classify(error).verdict is Verdict.HANG
