# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs, cell by cell."""

from __future__ import annotations

import pytest

from harness.core.records import Verdict
from harness.history.diff import KINDS, diff, exit_code, text_of

PASS, FAIL, HANG, SKIP, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.HANG, Verdict.SKIP, Verdict.ERROR
NEXT = {"commit": "1234567", "keys": {"xen": "c" * 32}}


def kinds(found) -> dict[str, str]:
    return {one.cell.split("::")[1].removesuffix("/1"): one.kind for one in found.differences}


def test_every_kind(recorded_run) -> None:
    before = recorded_run(
        "one",
        {"ok": PASS, "breaks": PASS, "stays": FAIL, "fixed": HANG, "gone": PASS, "cut": PASS, "left": PASS,
         "hides": FAIL},
    )  # fmt: skip
    after = recorded_run(
        "two",
        {"ok": PASS, "breaks": FAIL, "stays": HANG, "fixed": PASS, "left": SKIP, "extra": PASS,
         "worse": ERROR, "hides": SKIP, "cut": None},
        state="running", **NEXT,
    )  # fmt: skip
    found = diff(before, after)
    assert kinds(found) == {
        "breaks": "new red", "worse": "new red", "stays": "still red", "fixed": "fixed", "gone": "missing",
        "cut": "missing", "left": "skipped", "hides": "skipped", "extra": "new",
    }  # fmt: skip
    assert exit_code(found) == 1
    assert not found.same
    assert found.inputs == ["artifacts that differ: xen", "harness: abcdef0 -> 1234567"]
    text = text_of(found)
    assert "new red (2): red now" in text and "pass -> fail" in text and "breaks went wrong" in text
    assert text.splitlines()[-1] == "2 new red, 2 missing, 2 skipped, 1 still red, 1 fixed, 1 new"


def test_flaky_is_not_called_fixed_nor_new_red(recorded_run) -> None:
    found = diff(recorded_run("one", {"a": FAIL, "b": PASS}), recorded_run("two", {"a": PASS, "b": FAIL}))
    assert found.same and kinds(found) == {"a": "flaky", "b": "flaky"}


def test_deterministic_difference(recorded_run) -> None:
    one = recorded_run("one", {"a": PASS}, deterministic=True, metrics={"a": {"n": 1}})
    two = recorded_run("two", {"a": PASS}, deterministic=True, metrics={"a": {"n": 2}})
    found = diff(one, two)
    assert kinds(found) == {"a": "broken"} and exit_code(found) == 4
    assert "n is 1 in one, 2 in two" in text_of(found)


@pytest.mark.parametrize("verdict", [PASS, FAIL])
def test_nothing_new_is_green_for_a_script(recorded_run, verdict: Verdict) -> None:
    found = diff(recorded_run("one", {"a": verdict}), recorded_run("two", {"a": verdict}, **NEXT))
    assert exit_code(found) == 0


def test_same_run(recorded_run) -> None:
    folder = recorded_run("one", {"a": PASS})
    assert text_of(diff(folder, folder)) == "no difference"
    assert next(iter(KINDS)) == "broken"
