# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a merged run; what makes it red is in test_merge.py."""

from __future__ import annotations

from harness.core.records import Verdict
from harness.history.parts import notes_of, problems, read_parts
from harness.plan.shards import Shard


def test_parts_are_in_order_of_flavour_and_shard(recorded_run) -> None:
    whole = ("a", "b")
    folders = [
        recorded_run(
            f"{flavour}{n}", {whole[n - 1]: Verdict.PASS}, flavour=flavour, whole=whole,
            shard=Shard(number=n, count=2),
        )
        for flavour, n in (("release", 2), ("debug", 2), ("release", 1), ("debug", 1))
    ]  # fmt: skip
    parts = read_parts(folders)
    assert [part.record.id for part in parts] == ["debug1", "debug2", "release1", "release2"]
    assert problems(parts, {}) == ({}, [])


def test_run_that_was_killed_before_it_had_a_plan(recorded_run) -> None:
    folder = recorded_run("early", {}, state="running", plan={"shard": "2/3"})
    (folder / "plan.json").unlink()
    wrong, missing = problems(read_parts([folder]), {})
    assert wrong == {"shard 2/3 (early)": "killed: it did not come to its end"} and missing == []


def test_shard_without_cells_need_not_be_there(recorded_run) -> None:
    one = recorded_run("one", {"a": Verdict.PASS}, shard=Shard(number=1, count=2), whole=("a",))
    assert problems(read_parts([one]), {}) == ({}, [])


def test_run_that_a_signal_ended_after_its_last_cell(recorded_run) -> None:
    """What comes after the last cell, such as a late crash, was not looked for."""
    ended = recorded_run("ended", {"a": Verdict.PASS}, state="interrupted")
    other = recorded_run("other", {"b": Verdict.PASS})
    wrong, _ = problems(read_parts([ended, other]), {})
    assert wrong == {"run ended": "interrupted: it did not come to its end"}
    again = recorded_run("again", {"a": Verdict.PASS})
    parts = read_parts([ended, other, again])
    assert problems(parts, {}) == ({}, [])
    assert notes_of(parts) == ["run ended was interrupted; another part ran its cells again"]


def test_killed_before_its_plan_is_red_beside_a_finished_run(recorded_run) -> None:
    early = recorded_run("early", {}, state="running")
    (early / "plan.json").unlink()
    wrong, _ = problems(read_parts([early, recorded_run("other", {"b": Verdict.PASS})]), {})
    assert list(wrong) == ["run early"]
