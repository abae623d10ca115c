# SPDX-License-Identifier: GPL-2.0-or-later
"""One crash is one report, and what is passed over hides nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.dev.read import judge
from harness.monitor.crashlines import pieces
from harness.monitor.crashreports import MOST_LINES, CrashReports, Report, first_crash
from harness.monitor.crashtable import Severity
from harness.monitor.knownissues import KnownIssues

OOPS = """
[    5.1] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    5.1] #PF: supervisor write access in kernel mode
[    5.1] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
[    5.1] Call Trace:
[    5.1]  </TASK>
[    5.1] ---[ end trace 0000000000000000 ]---
""".strip().splitlines()
PANIC = """
[    5.2] Kernel panic - not syncing: Fatal exception
[    5.2] Kernel Offset: disabled
[    5.2] ---[ end Kernel panic - not syncing: Fatal exception ]---
""".strip().splitlines()
WARN = """
[    4.0] WARNING: CPU: 1 PID: 77 at drivers/xen/events/events_base.c:500 bind+0x1/0x2
[    4.0] Modules linked in:
[    4.0]  </TASK>
[    4.0] ---[ end trace 0000000000000000 ]---
""".strip().splitlines()
XEN_PANIC = """
(XEN) Assertion 'x' failed at common/event_3l.c:300
(XEN) ----[ Xen-4.20  x86_64  debug=y ]----
(XEN) Xen call trace:
(XEN)
(XEN) ****************************************
(XEN) Panic on CPU 0:
(XEN) Assertion 'x' failed at common/event_3l.c:300
(XEN) ****************************************
""".strip().splitlines()


def reports(
    *feeds: tuple[str, list[str]], passes: Callable[[str, str, Severity], bool] = lambda *_: False
) -> list[Report]:
    tracker = CrashReports(passes=passes)
    number = 0
    for printer, lines in feeds:
        for line in lines:
            tracker.take(number, printer, line)
            number += 1
    return tracker.reports


def test_an_oops_from_its_first_line_to_its_end_is_one_report() -> None:
    (report,) = reports(("guest:a", ["[ 5.0] quiet", *OOPS, "[ 5.2] goes on"]))
    assert (report.first, report.last, report.severity) == (1, len(OOPS), Severity.OOPS)
    assert report.line == OOPS[0] and report.ended


def test_the_panic_that_an_oops_leads_to_is_a_report_of_its_own_once_the_oops_has_ended() -> None:
    oops, panic = reports(("guest:a", OOPS + PANIC))
    assert (oops.severity, panic.severity) == (Severity.OOPS, Severity.PANIC)
    (one,) = reports(("guest:a", OOPS[:4] + PANIC))
    assert one.severity is Severity.PANIC and one.last == 6, "within the oops, it belongs to it"


def test_a_panic_of_xen_is_one_report_with_the_assertion_that_causes_it() -> None:
    (report,) = reports(("xen", XEN_PANIC))
    assert (report.first, report.last) == (0, len(XEN_PANIC) - 1)
    assert "Assertion" in report.line


def test_reports_of_two_consoles_do_not_mix() -> None:
    mixed = [line for pair in zip(OOPS, WARN, strict=False) for line in pair]
    tracker = CrashReports()
    for number, line in enumerate(mixed):
        tracker.take(number, "guest:a" if number % 2 == 0 else "guest:b", line)
    a, b = tracker.reports
    assert (a.layer, a.line, b.layer, b.line) == ("guest:a", OOPS[0], "guest:b", WARN[0])


def test_two_warnings_are_two_reports_even_if_the_first_never_ends() -> None:
    assert len(reports(("dom0", WARN[:2] + WARN))) == 2


def test_a_report_whose_end_does_not_come_ends_after_many_lines() -> None:
    quiet = ["[ 6.0] a line"] * (2 * MOST_LINES)
    (report,) = reports(("dom0", WARN[:1] + quiet))
    assert report.last == MOST_LINES - 1
    assert len(reports(("dom0", WARN[:1] + quiet + OOPS))) == 2


def test_a_passed_warning_does_not_hide_the_oops_or_the_panic_within_it() -> None:
    known = "WARNING: CPU"
    for worse in (OOPS[2:3], PANIC[:1]):
        first, second = reports(
            ("dom0", WARN[:2] + worse), passes=lambda layer, line, severity: known in line
        )
        assert first.passed and not second.passed, worse


def test_a_second_panic_is_not_part_of_an_expected_one() -> None:
    expected = iter([True])
    first, second = reports(
        ("guest:a", PANIC[:1] + PANIC[:1]), passes=lambda *_: next(expected, False)
    )
    assert first.passed and not second.passed


def test_the_end_of_an_expected_panic_repeats_its_words_and_is_no_second_one() -> None:
    expected = iter([True])
    (report,) = reports(("guest:a", PANIC), passes=lambda *_: next(expected, False))
    assert report.passed and report.ended


def test_a_name_is_given_to_reports_of_the_past_and_of_the_future() -> None:
    tracker = CrashReports()
    tracker.take(0, "xen", "(XEN) Domain 3 (vcpu#0) crashed on cpu#1:")
    tracker.name("dom3", "guest:a")
    tracker.take(1, "dom3", "(d3) Kernel panic - not syncing: early")
    assert [report.layer for report in tracker.reports] == ["guest:a", "guest:a"]


def test_what_comes_after_the_end_of_a_console_is_not_part_of_its_last_report() -> None:
    tracker = CrashReports()
    assert tracker.take(0, "guest:a", OOPS[0]) is not None
    tracker.end("guest:a")
    assert tracker.take(1, "guest:a", PANIC[0]) is not None


def test_a_boot_ends_what_was_reported_before_it() -> None:
    """A recorded serial console goes on after a reset, and Xen's panics have no end marker."""
    boot = "(XEN) Command line: console=com1"
    xen, again = reports(("xen", [*XEN_PANIC, boot, *XEN_PANIC]))
    assert (xen.last, again.first) == (len(XEN_PANIC) - 1, len(XEN_PANIC) + 1)
    boot = "[    0.000000] Linux version 6.12.1 (gcc)"
    assert len(reports(("guest:a", [*PANIC[:2], boot, *PANIC]))) == 2
    tracker = CrashReports()
    for number, (printer, line) in enumerate(
        [("dom0", PANIC[0]), ("xen", "(XEN) [    0.1] Command line: com1=1200,8n1"), ("dom0", PANIC[0])]
    ):
        tracker.take(number, printer, line)
    assert len(tracker.reports) == 2, "dom0 boots again with Xen"
    (one,) = reports(("xen", [*XEN_PANIC[:4], "(XEN) Xen version 4.22.0 (gcc) debug=n", *XEN_PANIC[4:]]))
    assert one.last == len(XEN_PANIC), "the debug key 'h' prints the banner, too"


def test_dom0_that_ends_the_machine_is_a_crash_only_where_it_must_stay() -> None:
    said = {
        "Hardware Dom0 halted: halting machine": "dom0 halted the machine",
        "Hardware Dom0 shutdown: rebooting machine": "dom0 rebooted the machine",
        "Entering ACPI S5 state.": "dom0 powered the machine off",
    }
    for what, meaning in said.items():
        line = f"(XEN) {what}"
        assert CrashReports().take(0, "xen", line) is None
        report = CrashReports(dom0_must_stay=True).take(0, "xen", line)
        assert report is not None and (report.layer, report.meaning) == ("dom0", meaning)


def test_first_crash_passes_over_what_is_known() -> None:
    lines = [*WARN, *OOPS]
    first = first_crash(lines, other="bare")
    assert first is not None and first.line == WARN[0]
    first = first_crash(lines, other="bare", passes=lambda _, line, __: "WARNING" in line)
    assert first is not None and first.line == OOPS[0]


OOPSES = """
[    5.1] kernel BUG at known.c:1!
[    5.1] Oops: invalid opcode: 0000 [#1] SMP
[    5.1] RIP: 0010:x+0x1/0x2
""".strip().splitlines()


@pytest.mark.parametrize(
    "known",
    [OOPSES, ["BUG: KASAN: slab-out-of-bounds in x+0x1/0x2", "Read of size 8"]],
    ids=["an oops", "KASAN"],
)
def test_another_oops_within_a_known_one_is_another_crash(known: list[str]) -> None:
    second = "[    5.2] Oops: general protection fault, 0000 [#2] SMP"
    found = reports(
        ("dom0", [*known, second, "---[ end trace 0 ]---"]), passes=lambda _, line, __: line == known[0]
    )
    assert [report.passed for report in found] == [True, False]


def test_what_is_known_of_a_guest_is_passed_over_though_its_name_came_later() -> None:
    tracker = CrashReports(passes=lambda layer, line, severity: layer == "guest:a")
    assert tracker.take(0, "dom3", WARN[0]) is not None
    tracker.name("dom3", "guest:a")
    assert [report.passed for report in tracker.reports] == [True]


@pytest.mark.parametrize("said", ["(XEN) Xen WARN at common/event.c:10", "(XEN) Panic on CPU 0:"])
def test_a_crash_of_xen_in_the_middle_of_a_line_of_the_other(said: str) -> None:
    crash = first_crash([f"# half a line{said}"], other="bare")
    assert crash is not None and crash.layer == "xen"
    assert first_crash(["(d1) BUG: of a bare domU"], other="bare") is not None


RECORDED = Path(__file__).parents[1] / "logs" / "crashes"


def seen_in(log: Path) -> list[str]:
    """What is recognized in a recorded console: line number, severity, layer, first line without its time."""
    raw = log.read_bytes()
    layer = "serial" if log.suffix == ".raw" else "guest"
    crashes = judge(log.name, raw, layer=layer, known=KnownIssues()).crashes
    stamp = re.compile(r"^\[ *\d+\.\d+\](\[ *[TC]\d+\])? ")
    return [f"{c.number} {c.severity} {c.layer} {stamp.sub('', c.lines[0])}".rstrip() for c in crashes]


LOGS = sorted(path for path in RECORDED.iterdir() if path.suffix in (".log", ".raw"))


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.name)
def test_crashes_of_real_kernels_and_hypervisors(log: Path) -> None:
    """Each ``.crashes`` file was read against its log once; README.md there tells how they were provoked."""
    assert seen_in(log) == log.with_suffix(".crashes").read_text().splitlines()


HARMLESS = sorted(RECORDED.glob("xen-*-harmless.raw"))


@pytest.mark.parametrize("log", HARMLESS, ids=lambda path: path.name)
def test_dom0_that_ends_a_real_machine_is_a_crash_only_where_it_must_stay(log: Path) -> None:
    """In each of these logs dom0 powers the machine off, reboots it and halts it, in three boots."""
    lines = [
        part
        for line in log.read_bytes().replace(b"\r", b"").decode().splitlines()
        for part in pieces(line, other="dom0")
    ]
    ends = ["dom0 powered the machine off", "dom0 rebooted the machine", "dom0 halted the machine"]
    for must_stay, expected in ((False, []), (True, ends)):
        tracker = CrashReports(dom0_must_stay=must_stay)
        for number, (printer, text) in enumerate(lines):
            tracker.take(number, printer, text)
        assert [report.meaning for report in tracker.reports] == expected
