# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole validations of a small tree: real git, make, gcc and sandbox; a program in place of a machine."""

from __future__ import annotations

import pytest
from fakes import git
from validate.conftest import edit
from validate.small import ProgramRunner

from harness.core.errors import InfraError, UserError
from harness.core.records import Verdict
from harness.validate import record as records
from harness.validate.judge import Change
from harness.validate.validate import Request, check_range


def told(step: records.PatchRecord) -> list[tuple[str, str]]:
    return [(one.cell.split("::")[1], one.change) for suite in step.suites[:1] for one in suite.told]


def test_each_fault_is_named_at_its_patch_and_nothing_else_is_red(whole) -> None:
    record, _, runner = whole
    (series,) = record.series
    base, *steps = series.steps
    assert [step.number for step in steps if step.verdict is not Verdict.PASS] == [3, 4, 8]
    assert [str(step.verdict) for step in steps] == [
        "pass", "pass", "crash", "fail", "pass", "pass", "pass", "fail",
    ]  # fmt: skip
    assert told(steps[1]) == [("new/1", Change.MENDED)]
    assert told(steps[2]) == [("bound/1", Change.BROKEN)]
    assert "nonsense" in steps[3].build.error and not steps[3].suites
    # Equal to what patch 3 was, so it is not run again, and not red again.
    assert (steps[4].build.same_as, steps[4].suites) == (3, [])
    assert told(steps[5]) == [("bound/1", Change.MENDED)]
    assert [(one.metric, one.base, one.before, one.now) for one in steps[6].costs] == [
        ("bare-pv64 send", 1000, 1000, 1050)
    ]
    assert told(steps[7]) == [("once/1", Change.BROKEN)]
    assert [one.partition(" [")[0] for one in steps[7].build.new_warnings] == [
        "common/event_channel.c: unused variable 'unused'".replace("'", "\u2018", 1).replace("'", "\u2019")
    ]
    assert steps[0].build.same_as == 0 and base.build.structs == {"evtchn": 16}
    assert (record.state, record.verdict, record.exit_code) == ("finished", Verdict.CRASH, 3)
    # The base and each patch that changed something, in two suites; patch 6 made what patch 2 was.
    assert len(runner.ran) == 2 * 6 and len(set(runner.ran)) == 2 * 5


def test_a_second_run_and_a_re_roll_build_only_what_changed(whole, of_planted, mails, tmp_path) -> None:
    again, *_ = of_planted()  # as a range: the content counts, not how it came
    assert all(step.build.hit for step in again.series[0].steps)
    for path in mails:
        text = path.read_text().replace("PATCH v2", "PATCH v3").replace("int unused", "int unneeded")
        (tmp_path / path.name.replace("v2", "v3")).write_text(text)
    rolled, *_ = of_planted(str(tmp_path))
    assert [step.number for step in rolled.series[0].steps if not step.build.hit] == [8]
    assert "the result is not what its author had" in rolled.series[0].steps[8].remarks[0]


def test_until_red_and_a_part_of_the_series(whole, of_planted) -> None:
    record, *_ = of_planted(until_red=True)
    assert [step.number for step in record.series[0].steps] == [0, 1, 2, 3]
    assert (record.state, record.exit_code) == ("stopped", 3)
    record, *_ = of_planted(first=6, last=7)
    steps = record.series[0].steps
    assert [step.number for step in steps] == [5, 6, 7]
    # Patch 6 is judged against patch 5, where the cell is bad.
    assert told(steps[1]) == [("bound/1", Change.MENDED)]
    with pytest.raises(InfraError, match="patch 4 does not build"):
        of_planted(first=5)


def test_a_patch_that_does_not_apply_ends_the_series(small, validated, tmp_path) -> None:
    edit(small, "int cost", "int  cost", "1 fine")
    edit(small, "int seen", "int  seen", "2 misfit")
    edit(small, "return 0", "return  0", "3 never tried")
    paths = small.mails(tmp_path / "mails")
    paths[1].write_text(paths[1].read_text().replace("-    int seen", "-    long seen"))
    record, *_ = validated(str(tmp_path / "mails"))
    _, one, two, three = record.series[0].steps
    assert (one.verdict, two.verdict, three.verdict) == (Verdict.PASS, Verdict.FAIL, None)
    assert two.misfit.startswith("hunk 1 of xen/common/event_channel.c") and "long seen" in two.proof
    assert record.exit_code == 1


def test_files_that_are_neither_built_nor_run_are_told(small, validated) -> None:
    (small.path / "docs").mkdir()
    (small.path / "docs/x").write_text("words\n")
    git(small.path, "add", ".")
    git(small.path, "commit", "-q", "-m", "docs: x")
    record, _, runner = validated()
    step = record.series[0].steps[1]
    assert (step.outside, step.build.same_as, step.verdict) == (["docs/x"], 0, Verdict.PASS)
    assert not runner.ran


class Faulty(ProgramRunner):
    """Fails at the second suite of the first patch that is run."""

    def __call__(self, part, facts):
        if len(self.ran) == 3:
            self.ran.append(("", ""))
            raise InfraError("the disk is full", hint="")
        return super().__call__(part, facts)


def test_an_error_of_the_host_is_not_the_patch_s_and_the_next_one_is_judged(whole, of_planted) -> None:
    record, *_ = of_planted(runner=Faulty(), last=3)
    _, _, two, three = record.series[0].steps
    assert two.errors == ["bench: the disk is full"] and two.verdict is Verdict.ERROR
    assert told(three) == [("bound/1", Change.BROKEN)]
    assert record.exit_code == 4


def test_a_base_that_does_not_build(small, validated) -> None:
    edit(small, "return 0", "return nonsense", "1 broken")
    edit(small, "return nonsense", "return 0", "2 mended")
    with pytest.raises(InfraError, match=r"the base does not build: .*nonsense"):
        validated(f"{small.path}:HEAD~1..HEAD")


def test_an_interrupted_one_says_so(whole, of_planted) -> None:
    def stop(*_: object):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of_planted(runner=stop)
    record = records.load(of_planted.folders[-1])
    assert (record.state, record.exit_code) == ("interrupted", 130)
    assert [step.number for step in record.series[0].steps] == [0, 1]


def test_numbers_that_a_series_lacks() -> None:
    for words in ({"first": 0}, {"first": 4}, {"first": 3, "last": 2}, {"last": 9}):
        with pytest.raises(UserError, match="the series has 3 patches"):
            check_range(Request(**words), 3)
    check_range(Request(first=2, last=3), 3)
