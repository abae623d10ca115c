# SPDX-License-Identifier: GPL-2.0-or-later
"""ci/morning, with the real evh, on recorded nights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nights import record_run

from harness.core.paths import CHECKOUT
from harness.core.records import Verdict
from harness.plan.shards import Shard
from harness.run.record import load

PASS, FAIL = Verdict.PASS, Verdict.FAIL
WHOLE = ("a", "b", "c", "d")


@pytest.fixture
def morning(tmp_path: Path):
    """Write the shards of a night, then run ci/morning. A verdict of None: that shard never came."""

    def go(number: int, verdicts: dict[str, Verdict], *, shards: tuple[int, ...] = (1, 2), **words: object):
        night = tmp_path / f"night{number}"
        for shard in (1, 2):
            record_run(
                night / "all", f"s{shard}", {name: verdicts[name] for name in WHOLE[shard - 1 :: 2]},
                shard=Shard(number=shard, count=2), whole=WHOLE, commit=f"{number:07}",
                started=f"2026-11-{number:02}T01:00:00.000+00:00", **words,
            )  # fmt: skip
        (night / "plans").mkdir()
        shutil.copy(night / "all/s1/plan.json", night / "plans/release.json")
        (night / "runs").mkdir()
        for shard in shards:
            (night / "all" / f"s{shard}").rename(night / "runs" / f"release-{shard}")
        env = os.environ | {"EVH": str(Path(sys.prefix) / "bin" / "evh")}
        command = [str(CHECKOUT / "ci/morning"), "plans", "runs", str(tmp_path / "nights"), "merged"]
        done = subprocess.run(command, cwd=night, env=env, capture_output=True, text=True)
        return done, night / "merged"

    return go


def test_three_nights(morning, tmp_path: Path) -> None:
    good = dict.fromkeys(WHOLE, PASS)
    done, out = morning(1, good)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} >= {
        "run.json", "report.html", "junit.xml", "trends.html", "verdicts.atom", "badge.svg",
        "codequality.json", "metrics.txt", "mail.txt", "parts",
    }  # fmt: skip
    done, out = morning(2, good | {"c": FAIL})
    assert done.returncode == 1
    assert "new red (1)" in (out / "mail.txt").read_text()
    assert "race::c" in (out / "verdicts.atom").read_text()
    done, out = morning(3, good)
    assert done.returncode == 0
    assert "fixed (1)" in (out / "mail.txt").read_text()
    assert len(list((tmp_path / "nights").glob("*/run.json"))) == 3


def test_shard_that_never_came_is_named(morning) -> None:
    done, out = morning(1, dict.fromkeys(WHOLE, PASS), shards=(1,))
    assert done.returncode == 4
    said = (out / "mail.txt").read_text()
    assert "shard 2/2" in said and "race::b" in said and "race::d" not in load(out)[1].tests[0].cell


def test_no_shard_came(morning) -> None:
    """Only the plan knows that there was anything to run; nothing is green."""
    done, out = morning(1, dict.fromkeys(WHOLE, PASS), shards=())
    assert done.returncode == 2 and not out.exists()


def test_deterministic_cell_that_differs_from_the_night_before(morning) -> None:
    same = {"deterministic": True}
    assert morning(1, dict.fromkeys(WHOLE, PASS), metrics={"a": {"n": 1}}, **same)[0].returncode == 0
    done, _ = morning(2, dict.fromkeys(WHOLE, PASS), metrics={"a": {"n": 2}}, **same)
    assert done.returncode == 0, "another commit may count otherwise"
    assert "n: 1 -> 2" in done.stdout
