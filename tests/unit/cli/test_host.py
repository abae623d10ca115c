# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `evh clean`."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fakes import make_run
from nights import record_run

from harness.core.locks import using
from harness.core.records import Verdict
from harness.store.artifacts import Store


def make_store(folder: Path) -> Path:
    store = folder / "cache" / "evtchn-harness"
    (store / "xen" / "abc").mkdir(parents=True)
    (store / "xen" / "abc" / "xen").write_bytes(b"x" * 3_000_000)
    return store / "xen"


def test_clean_removes_runs_and_store_and_nothing_else(evh, tmp_path: Path) -> None:
    xen = make_store(tmp_path)
    make_run(Path("runs/old"))
    make_run(Path("runs/killed"), state="running", pid=0)
    Path("runs/thesis").mkdir()
    Path("runs/thesis/thesis.txt").touch()

    asked = evh("clean")
    assert "2.9 MiB" in asked.output and "runs/old" in asked.output
    assert xen.exists() and Path("runs/old").exists(), "without --yes and a terminal nothing is removed"

    got = evh("clean", "--yes")
    assert got.exit_code == 0
    assert not xen.exists() and sorted(Path("runs").iterdir()) == [Path("runs/thesis")]
    assert Path("runs/thesis/thesis.txt").exists()
    assert "nothing to remove" in evh("clean", "--yes").output


def test_clean_keeps_an_active_run(evh, tmp_path: Path) -> None:
    xen = make_store(tmp_path)
    make_run(Path("runs/old"))
    make_run(Path("runs/live"), state="running", pid=1)
    with using(Path("runs/live")):
        assert evh("clean", "--no-store", "--yes").exit_code == 0
    assert xen.exists() and sorted(Path("runs").iterdir()) == [Path("runs/live")]


def test_clean_keeps_a_store_that_a_process_in_another_folder_uses(evh, tmp_path: Path) -> None:
    """A run there, `evh shell`, or `evh boot` before its machine is up."""
    xen = make_store(tmp_path)
    make_run(Path("runs/old"))
    with Store().in_use(say=print):
        refused = evh("clean", "--yes")
    assert refused.exit_code == 2 and f"in use by pid {os.getpid()}" in refused.stderr
    assert xen.exists() and Path("runs/old").exists()
    assert evh("clean", "--yes").exit_code == 0
    assert not xen.exists() and [path.name for path in Store().root.iterdir()] == ["in-use"]


def test_clean_refuses_during_a_build(evh, tmp_path: Path) -> None:
    locks = tmp_path / "cache" / "evtchn-harness" / "locks"
    locks.mkdir(parents=True)
    with (locks / "xen-abc").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        got = evh("clean", "--yes")
    assert got.exit_code == 2
    assert "xen-abc" in got.stderr
    assert locks.exists()


def test_clean_keeps_what_it_is_told_to(evh) -> None:
    for day in range(1, 6):
        verdict = Verdict.FAIL if day == 2 else Verdict.PASS
        record_run(Path("runs"), f"d{day}", {"a": verdict}, started=f"2026-11-{day:02}T01:00:00.000+00:00")
    store = Path("cache/evtchn-harness/xen/key")
    store.mkdir(parents=True)
    got = evh("clean", "--keep-runs", "2", "--keep-red", "--yes")
    assert got.exit_code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["d2", "d4", "d5"]
    assert store.exists(), "without a budget the store stays"
    assert evh("clean", "--keep-runs", "2", "--no-runs").exit_code == 2
    assert evh("clean", "--store-budget", "1", "--no-store").exit_code == 2


def test_clean_to_a_budget_says_what_the_runs_need(evh) -> None:
    record_run(Path("runs"), "one", {"a": Verdict.PASS}, keys={"xen": "needed"})
    for name in ("needed", "spare"):
        (Path("cache/evtchn-harness/xen") / name).mkdir(parents=True)
        (Path("cache/evtchn-harness/xen") / name / "data").write_bytes(b"x" * (1 << 20))
    got = evh("clean", "--keep-runs", "1", "--store-budget", "0", "--yes")
    assert got.exit_code == 0 and "the store needs 0.0 GiB for the runs that stay" in got.stderr
    assert sorted(path.name for path in Path("cache/evtchn-harness/xen").iterdir()) == ["needed"]
    assert Path("runs/one").exists()
