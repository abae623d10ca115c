# SPDX-License-Identifier: GPL-2.0-or-later
"""The index is what the folders are, whatever happens to its file."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.history.index import FILE, VERSION, index_of
from harness.history.merge import merge
from harness.plan.shards import Shard

PASS, FAIL = Verdict.PASS, Verdict.FAIL


def dump(runs: Path) -> list[str]:
    """Everything that the index holds, in a fixed order."""
    with index_of(runs) as connection:
        return sorted(connection.iterdump())


@pytest.fixture
def runs(recorded_run, tmp_path: Path) -> Path:
    recorded_run("one", {"a": PASS, "b": FAIL}, deterministic=True, metrics={"a": {"cost": 5}})
    recorded_run("two", {"a": PASS, "b": None}, state="running", planned=("c",))
    return tmp_path / "runs"


def test_contents(runs: Path) -> None:
    with index_of(runs) as connection:
        tests = connection.execute("SELECT folder, cell, verdict, exact FROM test ORDER BY 1, 2").fetchall()
        state = dict(connection.execute("SELECT folder, state FROM run"))
        metrics = connection.execute("SELECT folder, name, value, exact FROM metric ORDER BY 1, 2").fetchall()
    short = [(folder, cell.split("::")[1], verdict, exact) for folder, cell, verdict, exact in tests]
    assert short == [
        ("one", "a/1", "pass", 1), ("one", "b/1", "fail", 1),
        ("two", "a/1", "pass", 0), ("two", "b/1", "", 0), ("two", "c/1", "", 0),
    ]  # fmt: skip
    assert state == {"one": "finished", "two": "killed"}
    assert metrics == [("one", "cost", 5, 1), ("one", "seconds", 0.5, 0), ("two", "seconds", 0.5, 0)]


def test_index_that_is_rebuilt_is_the_same(runs: Path) -> None:
    before = dump(runs)
    assert dump(runs) == before
    (runs / FILE).unlink()
    assert dump(runs) == before


def damage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def older(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")


@pytest.mark.parametrize("change", [damage, cut, older])
def test_damaged_index_is_made_anew(runs: Path, change) -> None:
    before = dump(runs)
    change(runs / FILE)
    assert dump(runs) == before


def test_folders_that_come_go_and_change(runs: Path, recorded_run) -> None:
    dump(runs)
    recorded_run("three", {"a": FAIL})
    shutil.rmtree(runs / "one")
    shutil.rmtree(runs / "two")
    recorded_run("two", {"a": FAIL})
    after = dump(runs)
    (runs / FILE).unlink()
    assert after == dump(runs)
    assert not any("'one'" in line for line in after)


def test_cells_of_a_merged_run_that_no_part_has(recorded_run, tmp_path: Path) -> None:
    one = recorded_run("one", {"a": PASS}, shard=Shard(number=1, count=2), whole=("a", "b"))
    two = recorded_run("two", {"b": None}, shard=Shard(number=2, count=2), whole=("a", "b"), state="running")
    merge([one, two], plans={}, run_dir=tmp_path / "runs" / "merged")
    with index_of(tmp_path / "runs") as connection:
        found = dict(connection.execute("SELECT cell, verdict FROM test WHERE folder = 'merged'"))
    assert sorted(found.values()) == ["", "pass"]


def test_folder_that_cannot_be_written_is_read_all_the_same(runs: Path, monkeypatch) -> None:
    (runs / FILE).mkdir()  # root may write everywhere
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    with index_of(runs) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (2,)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"), index_of(tmp_path / "none"):
        pass
