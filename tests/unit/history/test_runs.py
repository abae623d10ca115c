# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding runs."""

from __future__ import annotations

from pathlib import Path

from harness.core.records import Verdict
from harness.history.merge import merge
from harness.history.runs import read_runs


def test_runs_in_order_of_their_start(recorded_run, tmp_path: Path) -> None:
    recorded_run("b", {"a": Verdict.PASS}, started="2026-11-02T23:59:59.000+00:00")
    recorded_run("a", {"a": Verdict.PASS}, started="2026-11-03T00:00:00.000+00:00")
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "run.json").write_text("{")
    (tmp_path / "runs" / "other").mkdir()
    runs, unread = read_runs(tmp_path / "runs")
    assert [(run.record.id, run.night) for run in runs] == [("b", "2026-11-02"), ("a", "2026-11-03")]
    assert unread == [tmp_path / "runs" / "bad"]
    assert [run.record.id for run in read_runs(tmp_path / "runs" / "a")[0]] == ["a"]
    assert read_runs(tmp_path / "none") == ([], [])


def test_parts_of_a_merged_run_are_not_counted_twice(recorded_run, tmp_path: Path) -> None:
    folders = [recorded_run(name, {name: Verdict.PASS}) for name in ("one", "two")]
    recorded_run("alone", {"x": Verdict.PASS})
    merge(folders, plans={}, run_dir=tmp_path / "runs" / "merged")
    assert {run.record.id for run in read_runs(tmp_path / "runs")[0]} == {"merged", "alone"}
