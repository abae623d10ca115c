# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether two runs tested the same, and whether a cell did the same in both."""

from __future__ import annotations

import msgspec
import pytest

from harness.core.records import Verdict
from harness.history.same import (
    Relation,
    Subject,
    differences,
    relation,
    same_artifacts,
    subject_of,
)
from harness.run.record import is_deterministic, load

PASS, FAIL, HANG, CRASH, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.SKIP


def test_first_difference_of_consoles() -> None:
    assert differences(b"a\nb\n", b"a\nb\n") == ""
    assert differences(b"a\nb\n", b"a\nc\n") == "line 2: was 'b', is now 'c'"
    assert differences(b"a\n", b"a\nc\n").startswith("line 2: was '', is now 'c'")
    assert differences(b"a\nb", b"a\nb\n") == "line 3: was absent, is now ''"
    assert differences(b"a\nb\nc", b"a\nb\ncd\ne", cut=True) == ""
    assert differences(b"a\nb\nc", b"a\nx\ncd\ne", cut=True).startswith("line 2")
    assert differences(b"a\nb\ncqemu: ended\n", b"a\nb\ncd\ne\n", cut=True) == ""


def test_artifacts_that_both_used_are_compared(recorded_run) -> None:
    def tested(name: str, **words: object) -> Subject:
        return subject_of(load(recorded_run(name, {"a": PASS}, **words))[1])

    one, more = tested("one"), tested("more", keys={"xen": "a" * 32, "linux": "f" * 32})
    assert same_artifacts(one, more) and same_artifacts(more, one)
    for words in (
        {"keys": {"xen": "b" * 32}}, {"keys": {"linux": "a" * 32}}, {"commit": ""}, {"commit": "abc-dirty"},
        {"options": {"minutes": "5"}}, {"plan": {"files": "my_test.py"}},
    ):  # fmt: skip
        assert not same_artifacts(one, tested(str(words), **words)), words


def test_two_runs_of_a_changed_tree_are_never_the_same(recorded_run) -> None:
    folders = [recorded_run(name, {"a": PASS}, commit="abc-dirty") for name in ("one", "two")]
    one, two = (subject_of(load(folder)[1]) for folder in folders)
    assert not same_artifacts(one, two)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (FAIL, PASS, Relation.FLAKY), (PASS, HANG, Relation.FLAKY), (PASS, CRASH, Relation.FLAKY),
        (FAIL, CRASH, Relation.SAME), (PASS, SKIP, Relation.SAME), (PASS, PASS, Relation.SAME),
        (Verdict.ERROR, PASS, Relation.SAME),
    ],
)  # fmt: skip
def test_relation_of_verdicts(recorded_run, before: Verdict, after: Verdict, kind: Relation) -> None:
    results = []
    for name, verdict in (("one", before), ("two", after)):
        folder, record = load(recorded_run(name, {"a": verdict}))
        results.append((folder, record, record.tests[0]))
    assert relation(*results)[0] is kind


def test_boot_that_a_deadline_cut_short_need_only_agree_so_far(recorded_run) -> None:
    """A slow host ends a deterministic boot early; that is no difference in what the boot does."""
    results = []
    for name, verdict, said in (("one", HANG, b"1\n2\n3\n"), ("two", PASS, b"1\n2\n3\n4\n")):
        folder, record = load(recorded_run(name, {"a": verdict}, deterministic=True, consoles={"a": said}))
        record.boots[0] = msgspec.structs.replace(record.boots[0], verdict=verdict)
        assert is_deterministic(record, record.tests[0])
        results.append((folder, record, record.tests[0]))
    assert relation(*results)[0] is Relation.FLAKY
    (results[1][0] / "console-1.log").write_bytes(b"1\nX\n3\n4\n")
    assert relation(*results)[0] is Relation.BROKEN


def test_machine_is_not_deterministic(recorded_run) -> None:
    _, record = load(recorded_run("one", {"a": PASS}, deterministic=True))
    record.tests[0].machine = 1
    assert not is_deterministic(record, record.tests[0])
