# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `evh plan` and `evh merge`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nights import record_run

from harness.core.records import Verdict
from harness.source import bases


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / f"test_{tmp_path.name}.py"  # pytest imports it in this process
    path.write_text("import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_it(n): pass\n")
    return path


def test_json_is_what_a_run_takes(evh, own: Path, tmp_path: Path) -> None:
    got = evh("plan", own, "--json")
    assert got.exit_code == 0
    document = json.loads(got.stdout)
    assert len(document["cells"]) == 6 and document["of"] == 1
    (tmp_path / "plan.json").write_text(got.stdout)
    again = ("plan", own, "--estimates", "plan.json", "--json")
    cut = [evh(*again, *words) for words in (("--shards", 3), ("--shard", "2/3"))]
    assert json.loads(cut[0].stdout)["id"] == json.loads(cut[1].stdout)["id"]


def test_cells_are_those_of_the_pair_that_is_named(evh, own: Path) -> None:
    xen, linux = (bases.every(component)[-1] for component in ("xen", "linux"))
    got = evh("plan", own, "--xen", xen.folder.name, "--linux", linux.folder.name)
    assert f" {xen.name}+{linux.name}/release/" in got.output


def test_shards_do_not_depend_on_the_runs_of_this_host(evh, own: Path) -> None:
    before = evh("plan", own, "--shards", "2", "--json").stdout
    record_run(Path("runs"), "one", {"a": Verdict.PASS})
    assert evh("plan", own, "--shards", "2", "--json").stdout == before
    assert "estimates: guesses; --estimates names earlier runs" in evh("plan", own, "--shards", "2").output
    assert "estimates: from 1 runs with tcg" in evh("plan", own).output


@pytest.mark.parametrize(
    "words",
    [("plan", "--shard", "4/3"), ("plan", "--shard", "1/2", "--shards", "2"), ("plan", "--estimates", "none"),
     ("plan", "--xen", "0.1"), ("run", "--linux", "0.1"), ("run", "--with-series"),
     ("run", "--xen-config", "none"), ("run", "--xen-tree", "."),
     ("run", "--estimates", "none"), ("run", "--shard", "x"), ("merge", "none"),
     ("merge", "--plan", "none", "runs"), ("run", "--plan", "none"),
     ("run", "--plan", "none", "--shard", "1/2"), ("run", "--workers", "x"),
     ("run", "--workers", "2", "--shard", "1/2"), ("run", "--workers", "2", "--keep")],
)  # fmt: skip
def test_wrong_usage(evh, words: tuple[str, ...]) -> None:
    got = evh(*words)
    assert got.exit_code == 2
    assert "Traceback" not in got.output and not Path("runs").exists()


def test_plan_of_nothing_is_not_green(evh, own: Path) -> None:
    assert evh("plan", own, "-k", "zzz").exit_code == 6


def test_merge_says_what_is_missing_and_ends_with_4(evh) -> None:
    from harness.plan.shards import Shard

    record_run(Path("runs"), "one", {"a": Verdict.PASS}, shard=Shard(number=1, count=2), whole=("a", "b"))
    got = evh("merge", "runs/one", "--run-dir", "merged")
    assert got.exit_code == 4
    assert "shard 2/2 of shard 1/2 (one)'s plan is missing" in got.output
    assert Path("merged/report.html").is_file() and Path("merged/junit.xml").is_file()
    again = evh("report", "merged")
    assert again.exit_code == 4 or again.exit_code == 0
    assert "part  shard" in again.output.replace("\n", " ")


def test_plan_of_another_base(evh) -> None:
    for base in bases.every("xen"):
        document = json.loads(evh("plan", "--suite", "smoke", "--xen", base.folder.name, "--json").stdout)
        assert all(cell["cell"].startswith(f"{base.name}+") for cell in document["cells"])
    assert evh("plan", "--xen", "0.1").exit_code == 2
