# SPDX-License-Identifier: GPL-2.0-or-later
"""Outcomes of recorded XTF consoles, and QEMU's command line for each kind of test."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.machine.xtf import RESULT, THE_END, Result, qemu_words, read, without_numbers
from harness.plan.xtf import XtfTest

LOGS = Path(__file__).parents[1] / "logs"


def log(name: str) -> list[str]:
    return (LOGS / f"xtf-{name}.log").read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "result", "layer", "reason"),
    [
        ("success", Result.SUCCESS, "", ""),
        ("failure", Result.FAILURE, "", "Fail: Testing '(%rsp)'"),
        ("skip", Result.SKIP, "", "Skip: Argo"),
        ("error", Result.ERROR, "", "Error: Insufficient vcpus"),
        ("crash", Result.CRASH, "dom0", "PANIC: Unhandled exception at e030:000000000010358a Vec 13 #GP"),
        ("pvh", Result.SUCCESS, "", ""),
    ],
)
def test_recorded(name: str, result: Result, layer: str, reason: str) -> None:
    got = read(log(name))
    assert (got.result, got.layer) == (result, layer)
    assert reason in got.reason and bool(reason) is bool(got.reason)
    assert got.text.startswith(str(result))


def test_without_a_result_it_is_never_a_success() -> None:
    cut = [line for line in log("success") if not line.startswith(RESULT)]
    assert read(cut, late="60 s").result is Result.HANG
    assert (read(cut).result, read(cut).layer) == (Result.CRASH, "xtf")
    with pytest.raises(InfraError, match="no QEMU"):
        read(cut, problem="no QEMU")


def test_a_result_counts_only_after_the_shutdown() -> None:
    cut = [line for line in log("success") if not line.startswith(THE_END)]
    assert read(cut).result is Result.CRASH
    assert read(cut, late="60 s").result is Result.HANG
    with pytest.raises(InfraError):
        read(cut, problem="QEMU was killed")


def test_crash_of_xen_wins_over_success() -> None:
    place = "send_guest_vcpu_virq+0x2a/0x40"
    panic = [f"(XEN) RIP:    e008:[<ffff82d040203f2a>] {place}", "(XEN) Panic on CPU 0:"]
    got = read([*log("success"), *panic])
    assert (got.result, got.layer) == (Result.CRASH, "xen")
    assert got.crash == ("(XEN) Panic on CPU #:", "send_guest_vcpu_virq+#/#")
    assert read([*log("success"), *panic], problem="QEMU was killed").layer == "xen"


def test_warnings_are_not_a_plain_success() -> None:
    lines = [line.replace("SUCCESS", "SUCCESS with warnings") for line in log("success")]
    assert read(lines).result is Result.WARNINGS


def test_what_a_test_said_is_from_the_banner_to_the_result() -> None:
    said = read(log("success")).said
    assert said == ("Environment: PV 64bit (Long mode 4 levels)", "Hello World", "Test result: SUCCESS")


def test_what_qemu_says_is_not_the_tests() -> None:
    lines = log("success")
    assert read([*lines, "qemu-system-x86_64: terminating on signal 15 from pid 7"]).said == read(lines).said


def test_numbers() -> None:
    assert without_numbers("cpu#0 at 0xffff82d0 e008:[<00ff>] bad face d0v0 -22") == (
        "cpu## at # #:[<#>] bad face d0v0 -#"
    )


def test_words_of_the_test() -> None:
    test = XtfTest(name="hvm64-a", category="xsa", vcpus=3, args="hypercall")
    line = qemu_words(test, "tcg")
    assert line[line.index("-append") + 1].endswith(test.xen_args(accelerator="tcg"))
    assert line[line.index("-initrd") + 1] == "kernel hypercall"
    assert "dom0_max_vcpus=3" in line[line.index("-append") + 1].split()
    assert line[line.index("-smp") + 1] == "4"
