# SPDX-License-Identifier: GPL-2.0-or-later
"""What stays: runs by number, age and verdict; artifacts within a budget."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nights import record_run

from harness.core.locks import using
from harness.core.records import Verdict
from harness.dev.clean import size_of
from harness.dev.retention import Keep, expired, keys_of_runs, over_budget

PASS, FAIL = Verdict.PASS, Verdict.FAIL
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Ten runs, one a day, the last one today; those of days 22 and 24 are red."""
    return [
        record_run(
            tmp_path / "runs", f"d{day}", {"a": FAIL if day in (22, 24) else PASS},
            started=f"2026-11-{day:02}T01:00:00.000+00:00",
        )
        for day in range(20, 30)
    ]  # fmt: skip


def days(gone: list[Path]) -> list[int]:
    return [int(path.name[1:]) for path in gone]


@pytest.mark.parametrize(
    ("keep", "gone"),
    [
        (Keep(), [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]),
        (Keep(runs=3), [20, 21, 22, 23, 24, 25, 26]),
        (Keep(runs=0), [20, 21, 22, 23, 24, 25, 26, 27, 28, 29]),
        (Keep(runs=99), []),
        (Keep(days=2), [20, 21, 22, 23, 24, 25, 26, 27]),
        (Keep(red=True), [20, 21, 23, 25, 26, 27, 28, 29]),
        (Keep(runs=1, days=3, red=True), [20, 21, 23, 25, 26]),
    ],
)
def test_a_run_stays_if_one_of_the_rules_keeps_it(runs: list[Path], keep: Keep, gone: list[int]) -> None:
    assert days(expired(runs, keep, now=NOW)) == gone


def test_what_is_used_or_not_known_to_be_green_stays(runs: list[Path]) -> None:
    (runs[1] / "run.json").write_text("{")
    os.utime(runs[1] / "run.json", (0, 0))
    with using(runs[0]):
        assert days(expired(runs, Keep(red=True), now=NOW)) == [23, 25, 26, 27, 28, 29]
    assert days(expired(runs, Keep(runs=9), now=NOW)) == [21], "it counts as old as its file"


def test_killed_run_is_red(tmp_path: Path) -> None:
    folder = record_run(tmp_path, "killed", {"a": PASS, "b": None}, state="running")
    assert expired([folder], Keep(red=True), now=NOW) == []


def artifact(root: Path, name: str, used: float, size: int) -> Path:
    home = root / name
    home.mkdir(parents=True)
    (home / "data").write_bytes(os.urandom(size))
    (home / "manifest.json").write_text("{}")
    os.utime(home / "manifest.json", (used, used))
    os.utime(home, (used, used))
    return home


def test_store_goes_down_to_its_budget_oldest_use_first(tmp_path: Path) -> None:
    root = tmp_path / "store"
    mib = 1 << 20
    for name, used in (("xen/a", 4), ("xen/b", 1), ("linux/c", 2), ("trees/t.objects", 3), ("keys/k", 0)):
        artifact(root, name, used, mib)
    (root / "in-use").touch()
    (root / "locks").mkdir()
    whole = size_of(root)
    assert over_budget(root, whole, needed=()) == ([], whole)
    gone, left = over_budget(root, whole - 1, needed=())
    assert gone == [root / "xen/b"] and left < whole - mib
    gone, left = over_budget(root, 2 * mib + mib // 2, needed=())
    assert gone == [root / "xen/b", root / "linux/c", root / "trees/t.objects"]
    gone, left = over_budget(root, 0, needed={"a", "c"})
    assert gone == [root / "xen/b", root / "trees/t.objects"] and left > 3 * mib
    assert (root / "keys/k/data").exists()


def test_stamp_says_when_an_artifact_was_used(tmp_path: Path) -> None:
    root = tmp_path / "store"
    for name in ("xen/a", "xen/b"):
        artifact(root, name, 5, 1 << 20)
    (root / "stamps").mkdir()
    (root / "stamps/xen-a.json").write_text("{}")
    assert over_budget(root, size_of(root) - 1, needed=())[0] == [root / "xen/b"]


def test_keys_of_runs(tmp_path: Path) -> None:
    one = record_run(tmp_path, "one", {"a": PASS}, keys={"xen": "k1", "linux": "k2"})
    (tmp_path / "bad").mkdir()
    assert keys_of_runs([one, tmp_path / "bad"]) == {"k1", "k2"}
