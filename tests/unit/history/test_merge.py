# SPDX-License-Identifier: GPL-2.0-or-later
"""Merging runs: what makes the result red, and what each cell gets."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import fake_backends

from harness.core.errors import UserError
from harness.core.locks import using
from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.history.merge import merge
from harness.plan.selection import select
from harness.plan.shards import Shard
from harness.report.html import write_html
from harness.report.junit import write_junit
from harness.report.text import print_report
from harness.run.planning import load_plan
from harness.run.record import RunRecord, load
from harness.run.request import RunRequest
from harness.run.run import run

PASS, FAIL, HANG, CRASH, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR
ALL = ("a", "b", "c", "d", "e", "f")
Make = Callable[..., Path]


@pytest.fixture
def shards(recorded_run: Make) -> Callable[[int], Path]:
    """Run shard N of 3 of ``ALL``; words go to ``recorded_run``."""

    def go(number: int, **words: object) -> Path:
        shard = Shard(number=number, count=3)
        mine = ALL[number - 1 :: 3]
        verdicts = words.pop("verdicts", dict.fromkeys(mine, PASS))
        return recorded_run(words.pop("name", f"s{number}"), verdicts, shard=shard, whole=ALL, **words)

    return go


@pytest.fixture
def merged(tmp_path: Path) -> Callable[..., RunRecord]:
    """Merge; the record is read back from its folder, and can be shown."""

    def go(*runs: Path, **words: object) -> RunRecord:
        folder, record = merge(runs, plans=words.pop("plans", {}), run_dir=tmp_path / "merged")
        assert load(folder)[1] == record
        print_report(folder, record, file=io.StringIO())
        write_junit(folder, record)
        write_html(folder, record)
        return record

    return go


def test_all_shards_make_a_green_run(shards, merged, tmp_path: Path) -> None:
    record = merged(shards(2), shards(3), shards(1))
    assert (record.verdict, record.exit_code, record.error) == (PASS, 0, None)
    assert (record.planned, len(record.tests), record.state) == (6, 6, "finished")
    assert [part.shard for part in record.parts] == ["1/3", "2/3", "3/3"]
    assert sorted(test.test for test in record.tests) == list(ALL)
    each = [load(tmp_path / "merged" / part.folder)[1].seconds for part in record.parts]
    assert record.seconds == pytest.approx(sum(each), abs=0.002) and record.seconds > 0
    assert sorted(boot.number for boot in record.boots) == [1, 2, 3, 4, 5, 6]
    by_boot = {boot.number: boot for boot in record.boots}
    for test in record.tests:
        assert by_boot[test.boot].args == f"suite=race test={test.test}"
        assert (tmp_path / "merged" / by_boot[test.boot].console).read_bytes() == b"(XEN) booted\n"
        assert test.reproduce.startswith(f"evh repro --run {tmp_path / 'merged' / 'parts'}/")


def test_shard_cuts_are_those_of_the_fixture(shards) -> None:
    """What the tests below call a shard's cells is what its plan says."""
    plan = load_plan(shards(1) / "plan.json")
    assert [one.cell.split("::")[1] for one in plan.mine] == ["a/1", "d/1"]


def test_missing_shard_is_red_by_name(shards, merged) -> None:
    record = merged(shards(1), shards(3))
    assert (record.verdict, record.exit_code) == (ERROR, 4)
    assert "shard 2/3" in record.error.message and "is missing" in record.error.message
    assert "race::b/1 and 1 more" in record.error.message


def test_killed_shard_is_red_by_name(shards, merged) -> None:
    killed = shards(2, state="running", verdicts={"b": PASS, "e": None})
    record = merged(shards(1), killed, shards(3))
    assert record.verdict is ERROR
    assert "shard 2/3 (s2): killed: without a verdict: " in record.error.message
    assert "race::e/1" in record.error.message
    assert [bool(part.problem) for part in record.parts] == [False, True, False]


def test_shard_that_skipped_a_planned_cell_is_red(shards, merged) -> None:
    record = merged(shards(1), shards(2, verdicts={"b": PASS}), shards(3))
    assert "shard 2/3 (s2): incomplete: without a verdict: " in record.error.message


def test_shard_under_way_is_red(shards, merged) -> None:
    folder = shards(2, state="running", verdicts={"b": PASS, "e": None})
    with using(folder):
        record = merged(shards(1), folder, shards(3))
    assert "shard 2/3 (s2): running: without a verdict" in record.error.message


def test_other_artifacts_are_red_by_name(shards, merged) -> None:
    other = shards(3, keys={"xen": "c" * 32, "bare": "b" * 32})
    record = merged(shards(1), shards(2), other)
    assert record.verdict is ERROR
    assert record.error.message == "shard 3/3 (s3): other artifacts: xen cccccccccccc, not aaaaaaaaaaaa"


def test_other_tests_are_red_by_name(shards, merged) -> None:
    record = merged(shards(1), shards(2, commit="1234567"), shards(3))
    assert record.error.message == "shard 2/3 (s2): other artifacts: harness 1234567, not abcdef0"


def test_flavours_have_artifacts_of_their_own(recorded_run, merged) -> None:
    release = recorded_run("one", {"a": PASS})
    debug = recorded_run("two", {"a": PASS}, flavour="debug", keys={"xen": "d" * 32, "bare": "b" * 32})
    record = merged(release, debug)
    assert record.verdict is PASS and len(record.tests) == 2
    assert record.flavour == "debug,release"


def test_shards_of_two_plans_do_not_make_a_whole(recorded_run, shards, merged) -> None:
    other = recorded_run("other", {"b": PASS}, shard=Shard(number=2, count=3), whole=("a", "b", "c"))
    record = merged(shards(1), other, shards(3))
    said = "\n".join(record.notes)
    assert record.verdict is ERROR
    assert "shard 2/3 of shard 1/3 (s1)'s plan is missing" in said
    assert "shard 2/3 (other) is of another plan" in said


def test_a_red_cell_makes_the_run_red(shards, merged) -> None:
    record = merged(shards(1), shards(2, verdicts={"b": HANG, "e": PASS}), shards(3))
    assert (record.verdict, record.exit_code, record.error) == (HANG, 5, None)


def test_a_part_that_is_red_as_a_whole_stays_red(recorded_run, merged) -> None:
    folder = recorded_run("a", {"a": PASS})
    record = load(folder)[1]
    record.verdict = ERROR  # as `evh repro` does where the console differs
    (folder / "run.json").write_bytes(__import__("msgspec").json.encode(record))
    assert merged(folder, recorded_run("b", {"b": PASS})).verdict is ERROR


def test_a_retry_does_not_turn_red_into_green(recorded_run, merged, tmp_path: Path) -> None:
    red = recorded_run("one", {"a": FAIL}, consoles={"a": b"first\n"})
    later = "2026-11-02T01:00:00.000+00:00"
    green = recorded_run("two", {"a": PASS}, consoles={"a": b"second\n"}, started=later)
    record = merged(red, green)
    (test,) = record.tests
    assert (test.verdict, test.flaky, record.verdict, record.exit_code) == (FAIL, True, FAIL, 1)
    attempts = [(one.part, one.verdict) for one in test.attempts]
    assert attempts == [("parts/1-one", FAIL), ("parts/2-two", PASS)]
    consoles = [(tmp_path / "merged" / one.part / "console-1.log").read_bytes() for one in test.attempts]
    assert consoles == [b"first\n", b"second\n"]


@pytest.mark.parametrize(
    "change",
    [{"keys": {"xen": "c" * 32, "bare": "b" * 32}}, {"commit": "1234567"}, {"commit": "abcdef0-dirty"}],
)
def test_red_and_green_on_other_artifacts_is_not_flaky(recorded_run, merged, change) -> None:
    record = merged(recorded_run("one", {"a": FAIL}), recorded_run("two", {"a": PASS}, **change))
    assert not record.tests[0].flaky and record.tests[0].verdict is FAIL


def test_an_error_of_the_host_and_a_pass_is_not_flaky(recorded_run, merged) -> None:
    record = merged(recorded_run("one", {"a": ERROR}), recorded_run("two", {"a": PASS}))
    assert (record.tests[0].verdict, record.tests[0].flaky) == (ERROR, False)


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ({"verdict": FAIL}, {"verdict": PASS}, "fail in one, pass in two"),
        ({"metrics": {"cost": 1000}}, {"metrics": {"cost": 1001}}, "cost is 1000 in one, 1001 in two"),
        ({"console": b"(XEN) 1\n"}, {"console": b"(XEN) 2\n"}, "line 1: was '(XEN) 1', is now '(XEN) 2'"),
    ],
)
def test_deterministic_cell_that_differs_is_an_error(recorded_run, merged, one, two, said) -> None:
    folders = [
        recorded_run(
            name, {"a": words.get("verdict", PASS)}, deterministic=True,
            metrics={"a": words.get("metrics", {})}, consoles={"a": words.get("console", b"x\n")},
        )
        for name, words in (("one", one), ("two", two))
    ]  # fmt: skip
    record = merged(*folders)
    assert record.verdict is ERROR and record.tests[0].verdict is ERROR
    assert said in record.error.message and "deterministic" in record.error.message


def test_deterministic_cell_on_another_qemu_may_differ(recorded_run, merged) -> None:
    one = recorded_run("one", {"a": PASS}, deterministic=True, metrics={"a": {"cost": 1}})
    two = recorded_run("two", {"a": PASS}, deterministic=True, metrics={"a": {"cost": 2}}, qemu="QEMU 10.0")
    record = merged(one, two)
    assert record.verdict is PASS
    assert any("different QEMUs" in note for note in record.notes)


def test_killed_shard_that_ran_again_is_told(shards, merged) -> None:
    killed = shards(2, state="running", verdicts={"b": PASS, "e": None})
    again = shards(2, name="again")
    record = merged(shards(1), killed, again, shards(3))
    assert record.verdict is PASS and record.error is None
    assert any("shard 2/3 (s2) was killed" in note and "ran its cells again" in note for note in record.notes)


def test_plan_that_is_not_all_there(recorded_run, merged, shards, tmp_path: Path) -> None:
    path = shards(1) / "plan.json"
    record = merged(recorded_run("one", {"a": PASS}), plans={path: load_plan(path)})
    assert record.verdict is ERROR
    assert f"no part has 5 of the 6 cells of {path}: " in record.error.message


def test_what_is_refused(recorded_run, shards, merged, tmp_path: Path) -> None:
    one = recorded_run("one", {"a": PASS})
    with pytest.raises(UserError, match="the same run as"):
        merge([one, one], plans={}, run_dir=tmp_path / "m")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("no run")
    for bad in (tmp_path / "empty", tmp_path / "text.json", tmp_path / "none"):
        with pytest.raises(UserError):
            merge([one, bad], plans={}, run_dir=tmp_path / "m")
    merged(one)
    with pytest.raises(UserError, match="is a merged run"):
        merge([tmp_path / "merged"], plans={}, run_dir=tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_parts_stay_as_they_are(recorded_run, merged) -> None:
    folder = recorded_run("one", {"a": FAIL})
    before = {path: path.read_bytes() for path in folder.rglob("*")}
    merged(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_real_runs_of_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged) -> None:
    """Three runs of one file on fake machines: each cell runs once, in one of them."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "my_test.py"
    file.write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_it(machine, n): assert n != 5\n"
    )
    folders = []
    for number in (1, 2, 3):
        sys.modules.pop("my_test", None)
        request = RunRequest(
            selection=select(files=[str(file)]), run_dir=tmp_path / f"r{number}",
            shard=Shard(number=number, count=3),
        )  # fmt: skip
        with Progress(io.StringIO()) as progress:
            folder, record = run(request, progress=progress, backends=fake_backends([]))
        assert record.shard is not None and record.planned == len(record.tests) == 3
        assert "--shard" in record.reproduce
        folders.append(folder)
    record = merged(*folders)
    assert sorted(test.test for test in record.tests) == [f"test_it[{n}]" for n in range(9)]
    assert (record.verdict, record.error) == (FAIL, None)
