# SPDX-License-Identifier: GPL-2.0-or-later
"""KUnit's console (nested KTAP), recorded and made up: complete, cut short, or with failures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.core.records import Verdict
from harness.machine.kunit import MILESTONE, judge, qemu_words, read
from harness.plan.guests import KUNIT_KERNELS
from harness.run import cases

SUITE = "xen-events-3l"
LOGS = Path(__file__).parents[1] / "logs"
NAMES = [case for kind, case in cases.kunit_cases() if kind == "kunit64"]


def log(*, red: str = "") -> list[str]:
    lines = ["Linux version 6.12.107", "KTAP version 1", "1..1", "    KTAP version 1"]
    lines += [f"    # Subtest: {SUITE}", "    # module: events_3l", f"    1..{len(NAMES)}"]
    for number, name in enumerate(NAMES, 1):
        if name == red:
            lines += [
                f"    # {name}: EXPECTATION FAILED at drivers/xen/events/events_3l_kunit.c:200",
                "    Expected t->nr_seen == n, but",
                "        t->nr_seen == 3 (0x3)",
            ]
        lines += [f"    {'not ' if name == red else ''}ok {number} {name}"]
    lines += [f"# {SUITE}: pass:{len(NAMES)} fail:0 skip:0 total:{len(NAMES)}"]
    lines += [f"{'not ' if red else ''}ok 1 {SUITE}", "reboot: Restarting system"]
    return [f"{line}\r\n" for line in lines]


def judged(lines: list[str], *, problem: str = "", late: str = "") -> tuple[Verdict, str, str]:
    results, whole = read(lines)
    return judge(lines, results, whole=whole, problem=problem, late=late)


def recorded(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text().splitlines(keepends=True)


@pytest.mark.parametrize("kind", KUNIT_KERNELS)
def test_recorded(kind: str) -> None:
    assert judged(recorded(kind)) == (Verdict.PASS, "", "")
    results, _ = read(recorded(kind))
    # They were recorded before the suite xen-events-base was added.
    names = [name for its, name in cases.kunit_cases() if its == kind]
    assert [case.name for case in results.cases] == names[: names.index("virq_is_found")]


@pytest.mark.parametrize("kind", ["kunit64", "kunit32"])
def test_recorded_console_has_the_line_by_which_the_hosts_speed_is_told(kind: str) -> None:
    assert any(re.match(MILESTONE.line, line) for line in recorded(kind))


def test_recorded_failures_of_a_broken_scan() -> None:
    results, _ = read(recorded("kunit64-red"))
    red = {case.name: case.diagnostics[0] for case in results.cases if not case.ok}
    assert list(red) == ["each_port", "order", "all_ports", "not_ours", "raised_meanwhile"]
    assert all("ASSERTION FAILED" in text for text in red.values())
    assert judged(recorded("kunit64-red"))[:2] == (Verdict.FAIL, "linux")


def test_all_pass() -> None:
    assert judged(log()) == (Verdict.PASS, "", "")
    results, _ = read(log())
    assert [case.name for case in results.cases] == NAMES
    assert all(case.ok for case in results.cases)


def test_a_failed_case_has_its_diagnostics() -> None:
    results, _ = read(log(red="order"))
    failed = [case for case in results.cases if not case.ok]
    assert [case.name for case in failed] == ["order"]
    assert "EXPECTATION FAILED" in failed[0].diagnostics[0]
    assert judged(log(red="order")) == (Verdict.FAIL, "linux", "failed: order")


def test_without_the_suites_result_it_is_never_a_pass() -> None:
    lines = log()
    total = next(i for i, line in enumerate(lines) if line.startswith(f"ok 1 {SUITE}"))
    cut = lines[:total]
    assert judged(cut)[:2] == (Verdict.CRASH, "linux")
    assert judged(cut, late="90 s")[:2] == (Verdict.HANG, "linux")
    assert judged(cut, problem="no QEMU")[:2] == (Verdict.ERROR, "qemu")


def test_a_suite_that_is_planned_and_missing_is_never_a_pass() -> None:
    lines = ["1..2\n" if line == "1..1\r\n" else line for line in log()]
    assert judged(lines) == (Verdict.CRASH, "linux", "the kernel ended early: a suite has no result")


def test_two_suites() -> None:
    second = [
        "    KTAP version 1", "    # Subtest: xen-events-base", "    1..2", "    ok 1 first",
        "    not ok 2 second", "not ok 2 xen-events-base",
    ]  # fmt: skip
    lines = ["1..2\n" if line == "1..1\r\n" else line for line in log()[:-1]]
    results, whole = read(lines + second)
    assert whole and results.problem == "" and results.planned == len(NAMES) + 2
    assert [case.name for case in results.cases] == [*NAMES, "first", "second"]
    assert judged(lines + second)[::2] == (Verdict.FAIL, "failed: second")
    # The kernel ends in the second one.
    for cut in range(1, len(second)):
        assert judged(lines + second[:cut])[0] is Verdict.CRASH, second[cut]


def test_a_missing_result_is_never_a_pass() -> None:
    lines = [line for line in log() if " order" not in line]
    assert judged(lines)[0] is Verdict.CRASH


def test_another_suite_does_not_count() -> None:
    lines = [line.replace(SUITE, "another") for line in log()]
    assert judged(lines)[:2] == (Verdict.CRASH, "linux")


def test_a_crash_line_wins() -> None:
    lines = [*log(), "BUG: sleeping function called from invalid context at mm/slab.h:1\n"]
    assert judged(lines)[:2] == (Verdict.CRASH, "linux")


def test_the_machine_ends_with_the_tests() -> None:
    words = qemu_words("tcg")
    assert "-no-reboot" in words and "kunit_shutdown=reboot" in words[-1]


def test_parameters_of_a_test_and_a_skipped_one() -> None:
    """What the kernel prints for KUNIT_CASE_PARAM and kunit_skip() (lib/kunit/test.c)."""
    lines = [
        "KTAP version 1", "1..1", "    KTAP version 1", f"    # Subtest: {SUITE}", "    1..3",
        "        KTAP version 1", "        # Subtest: widths", "        ok 1 32 bits",
        "        not ok 2 64 bits",
        "    # widths: pass:1 fail:1 skip:0 total:2", "    not ok 1 widths",
        "    ok 2 on_smp # SKIP needs two CPUs", "    ok 3 plain",
        f"not ok 1 {SUITE}",
    ]  # fmt: skip
    results, whole = read(lines)
    assert whole and results.problem == ""
    assert [(case.name, case.ok, case.skipped) for case in results.cases] == [
        ("widths", False, ""), ("on_smp", True, "needs two CPUs"), ("plain", True, ""),
    ]  # fmt: skip
    assert judged(lines)[0] is Verdict.FAIL
