# SPDX-License-Identifier: GPL-2.0-or-later
"""What is worse than on the base, and what is as on the base."""

from __future__ import annotations

import pytest

from harness.core.records import Verdict
from harness.machine.xtf import Outcome, Result
from harness.run.baseline import Against, compare


def of(result: str, *said: str, layer: str = "", crash: tuple[str, ...] = (), reason: str = "") -> Outcome:
    return Outcome(result=Result(result), said=said, layer=layer, crash=crash, reason=reason)


@pytest.mark.parametrize("theirs", list(Result))
@pytest.mark.parametrize("ours", list(Result))
def test_order(ours: Result, theirs: Result) -> None:
    """Each result against each: red is what is worse, and a pass is a success alone."""
    order = ["success", "success with warnings", "skip", "error", "failure", "hang", "crash"]
    got = compare(of(ours), [of(theirs)])
    worse = order.index(ours) > order.index(theirs) or {ours, theirs} == {"hang", "crash"}
    red = got.verdict not in (Verdict.PASS, Verdict.SKIP)
    assert red is worse
    assert (got.against is Against.WORSE) is worse
    assert (got.verdict is Verdict.PASS) is (ours == "success")
    assert (got.reason == "") is (ours == theirs == "success")
    if ours == theirs != "success":
        assert got.reason == f"as on the base: {ours}"


@pytest.mark.parametrize(
    ("ours", "verdict", "layer"),
    [
        (of("failure"), Verdict.FAIL, "xen"),
        (of("error"), Verdict.FAIL, "xen"),
        (of("skip"), Verdict.FAIL, "xen"),
        (of("success with warnings"), Verdict.FAIL, "xen"),
        (of("hang"), Verdict.HANG, "xen"),
        (of("crash", layer="dom0"), Verdict.CRASH, "dom0"),
        (of("crash", layer="xen"), Verdict.CRASH, "xen"),
    ],
)
def test_red(ours: Outcome, verdict: Verdict, layer: str) -> None:
    got = compare(ours, [of("success")])
    assert (got.verdict, got.layer) == (verdict, layer)
    assert got.reason == f"worse than on the base: {ours.text}; there it was success"


def test_a_fix_is_told() -> None:
    got = compare(of("success"), [of("failure", reason="Fail: a"), of("failure", reason="Fail: a")])
    assert got.verdict is Verdict.PASS
    assert got.reason == "better than on the base: success; there it was failure: Fail: a"
    assert compare(of("error"), [of("crash"), of("crash")]).verdict is Verdict.SKIP


def test_a_chance_failure_on_the_base_excuses_nothing() -> None:
    assert compare(of("failure"), [of("failure"), of("success")]).verdict is Verdict.FAIL
    assert compare(of("hang"), [of("hang"), of("skip")]).verdict is Verdict.HANG


def test_an_equal_result_with_another_complaint_is_red() -> None:
    base = [of("failure", "Fail: a", "Test result: FAILURE")] * 2
    got = compare(of("failure", "Fail: a", "Fail: b", "Test result: FAILURE"), base)
    assert got.verdict is Verdict.FAIL
    assert got.reason.endswith("its output differs: 'Fail: b' here, 'Test result: FAILURE' there")
    assert compare(of("skip", "Skip: a"), [of("skip", "Skip: b")] * 2).verdict is Verdict.FAIL
    assert compare(of("failure", "rc -22"), [of("failure", "rc -38")] * 2).verdict is Verdict.FAIL


def test_numbers_that_vary_on_the_base_do_not_count() -> None:
    base = [of("failure", "took 12 us"), of("failure", "took 0x9 us")]
    assert compare(of("failure", "took 345 us"), base).verdict is Verdict.SKIP
    assert compare(of("failure", "was late"), base).verdict is Verdict.FAIL


def test_another_crash_is_red() -> None:
    base = [of("crash", layer="dom0", crash=("Hardware Dom# crashed",))] * 2
    assert compare(base[0], base).verdict is Verdict.SKIP
    xen = of("crash", layer="xen", crash=("Panic on CPU #:",), reason="Panic on CPU 0:")
    got = compare(xen, base)
    assert (got.verdict, got.layer) == (Verdict.CRASH, "xen")
    assert compare(of("crash", layer="xen", crash=("Panic on CPU #:", "f+#/#")), [xen] * 2).layer == "xen"
    gone, other = (of("crash", said, layer="xtf") for said in ("PANIC: a", "PANIC: b"))
    assert compare(gone, [other] * 2).verdict is Verdict.CRASH
    assert compare(gone, [gone, other]).verdict is Verdict.CRASH, "only what happens in each boot excuses"
