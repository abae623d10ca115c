# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP from a recorded console of a bare guest, complete and damaged."""

from pathlib import Path

import pytest

from harness.core.records import Verdict
from harness.machine import bare
from harness.monitor import ktap
from harness.run import cases

LOG = (Path(__file__).parents[1] / "logs" / "bare-pv64.log").read_text().splitlines()


def at(text: str) -> int:
    return next(number for number, line in enumerate(LOG) if text in line)


def test_a_complete_log() -> None:
    results = ktap.parse(LOG)
    assert results.planned == len(results.cases) == 34
    assert all(case.ok for case in results.cases)
    assert results.problem == ""
    assert "all_ports_open_and_each_is_delivered" in {c.name for c in results.cases}
    assert bare._judge(LOG, results, problem="", late="") == (Verdict.PASS, "", "")


def test_a_failed_test_and_its_diagnostics() -> None:
    log = list(LOG)
    where = at("ok 3 ")
    log[where : where + 1] = ["# line 7: a == b: got 1, want 2", "not " + LOG[where]]
    results = ktap.parse(log)
    assert [c.name for c in results.cases if not c.ok] == [LOG[where].split()[-1]]
    assert results.cases[2].diagnostics == ("line 7: a == b: got 1, want 2",)
    assert bare._judge(log, results, problem="", late="")[0] is Verdict.FAIL


def test_cut_short_is_never_a_pass() -> None:
    log = LOG[: at("ok 12 ")]
    results = ktap.parse(log)
    assert results.problem.startswith("11 of 34")
    assert bare._judge(log, results, problem="", late="")[0] is Verdict.CRASH
    assert bare._judge(log, results, problem="", late="60 s")[0] is Verdict.HANG


@pytest.mark.parametrize("gone", ["1..34", "ok 5 "])
def test_a_lost_line_is_never_a_pass(gone: str) -> None:
    log = [line for line in LOG if not line.startswith(gone)]
    assert ktap.parse(log).problem


def test_a_crash_of_xen_wins() -> None:
    log = [*LOG, "(XEN) Assertion 'unreachable' failed at common/event_3l.c:93"]
    verdict, layer, reason = bare._judge(log, ktap.parse(log), problem="", late="")
    assert (verdict, layer) == (Verdict.CRASH, "xen")
    assert "Assertion" in reason


def test_names_in_the_source_are_those_on_the_console() -> None:
    recorded = {case.name for case in ktap.parse(LOG).cases}
    assert recorded <= {name for _, name in cases.bare_cases("conformance", ("bare-pv64",))}


def test_metrics_are_not_diagnostics() -> None:
    log = [
        "KTAP version 1", "# seed 7", "1..2",
        "# metric rounds 100", "# metric cost -3", "# metric rounds 5", "# metric bad x", "# seed 9",
        "ok 1 a",
        "ok 2 b",
    ]  # fmt: skip
    results = ktap.parse(log)
    assert results.seed == 7
    assert results.cases[0].metrics == {"rounds": 105, "cost": -3}
    assert results.cases[0].diagnostics == ("metric bad x", "seed 9")
    assert results.cases[1].metrics == {}


@pytest.mark.parametrize(
    ("line", "name", "ok", "skipped"),
    [
        ("ok 1 a", "a", True, ""),
        ("ok 1 - words of a name", "words of a name", True, ""),
        ("ok 1 a # SKIP no such CPU", "a", True, "no such CPU"),
        ("ok 1 a # SKIP", "a", True, "no reason given"),
        ("not ok 1 a # TIMEOUT", "a", False, ""),
    ],
)
def test_result_lines_of_the_ktap_specification(line: str, name: str, ok: bool, skipped: str) -> None:
    results = ktap.parse(["KTAP version 1", "1..1", line])
    (case,) = results.cases
    assert (case.name, case.ok, case.skipped) == (name, ok, skipped)
    assert results.problem == ""


def test_result_that_xen_wrote_into_is_none() -> None:
    results = ktap.parse(["1..1", "ok 1 a(XEN) d0v0 something"])
    assert results.problem == "0 of 1 results; last result: none"


def test_guests_of_older_stores_say_figure() -> None:
    log = ["KTAP version 1", "1..1", "# figure rounds 100", "# metric rounds 5", "ok 1 a"]
    assert ktap.parse(log).cases[0].metrics == {"rounds": 105}


def test_no_seed_reported() -> None:
    assert ktap.parse([line for line in LOG if "# seed" not in line]).seed is None


NESTED = """
[    1.0] KTAP version 1
[    1.0] 1..2
[    1.0][    T1]     KTAP version 1
[    1.0]     # Subtest: first
[    1.0]     1..2
[    1.0]         KTAP version 1
[    1.0]         # Subtest: widths
[    1.0]         ok 1 32 bits
[    1.0]         not ok 2 64 bits
[    1.0]     not ok 1 widths
[    1.0] a line of the kernel's
[    1.0]     ok 2 plain # SKIP needs two CPUs
[    1.0] not ok 1 first
[    1.0] ok 2 second
""".strip().splitlines()


def test_nested_results_are_a_tree() -> None:
    results = ktap.parse(NESTED)
    first, second = results.cases
    assert (first.name, first.ok, first.planned, second.children) == ("first", False, 2, ())
    widths, plain = first.children
    assert [(case.name, case.ok) for case in widths.children] == [("32 bits", True), ("64 bits", False)]
    assert plain.skipped == "needs two CPUs"
    assert results.problem == ""


def test_a_subtest_without_a_result_is_incomplete() -> None:
    results = ktap.parse(NESTED[:10])
    assert results.problem.startswith("0 of 2")
    assert results.unfinished is not None and results.unfinished.name == "first"
    assert [case.name for case in results.unfinished.cases] == ["widths"]


def test_a_lost_result_of_a_subtest_is_a_problem() -> None:
    lost = [line for line in NESTED if "ok 2 plain" not in line]
    assert ktap.parse(lost).problem == "first: 1 of 2 results; last result: widths"


def test_each_document_on_a_console() -> None:
    one, two = ktap.documents(["noise", *NESTED, "noise", "KTAP version 1", "1..1", "ok 1 a"])
    assert [case.name for case in one.cases] == ["first", "second"]
    assert [case.name for case in two.cases] == ["a"]
    assert ktap.documents(["no KTAP"]) == []


def test_a_result_without_a_name() -> None:
    results = ktap.parse(["KTAP version 1", "1..2", "ok 1 # SKIP no such CPU", "not ok 2"])
    assert [(case.name, case.ok, case.skipped) for case in results.cases] == [
        ("test 1", True, "no such CPU"), ("test 2", False, ""),
    ]  # fmt: skip


def test_tap_of_kselftest_is_a_document_too() -> None:
    (document,) = ktap.documents(["noise", "TAP version 13", "1..1", "not ok 1 a"])
    assert [case.ok for case in document.cases] == [False]
