# SPDX-License-Identifier: GPL-2.0-or-later
"""Each script line of the pipelines in ci/, run in a fresh checkout as the vendors' runners run it.

GitLab's runner joins before_script and script into one bash script with ``set -eo pipefail``. GitHub's runs
each step by ``bash -e``, and goes on after a failed one only where the step says ``always()``. Variables that
people are meant to change choose a small suite here. The run of the pipelines stays the vendors': caches and
artifacts are folders of one checkout.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness.core.paths import CHECKOUT
from harness.run.record import load

# A suite that needs no Linux, and takes a second for each cell; one flavour, since others build another Xen.
QUICK = "--suite conformance --guest bare-pv64"
SMALL = {"EVH_SUITES": QUICK, "EVH_QUICK": QUICK, "EVH_FLAVOURS": "release"}
HUNT = {"HUNT": "bare-pv64-send_against_reset", "SEEDS": "1-6"}


@dataclass
class Checkout:
    """A fresh checkout, in which jobs run one after the other.

    Attributes:
        ran: the script lines that were run.
    """

    folder: Path
    ran: list[str] = field(default_factory=list)

    def bash(self, script: str, *options: str, **variables: str) -> int:
        env = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
        done = subprocess.run(
            ["bash", *options, "-c", script], cwd=self.folder, env=env | {"CI": "true"} | variables,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        print(f"$ {script}\n{done.stdout}\n[exit code {done.returncode}]")
        self.ran += script.splitlines()
        return done.returncode


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this tree in a repository of their own; the first job makes it ready for all."""
    folder = tmp_path_factory.mktemp("ci") / "checkout"
    listed = ["git", "-C", str(CHECKOUT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    who = ("-c", "user.name=ci", "-c", "user.email=ci@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "all")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def checkout(fresh: Path) -> Iterator[Checkout]:
    yield Checkout(fresh)
    for name in ("plans", "runs", "nights", "merged"):
        shutil.rmtree(fresh / name, ignore_errors=True)


def gitlab(checkout: Checkout, job: str, **matrix: str) -> int:
    """Run a job of the GitLab pipeline.

    Returns:
        The script's exit code.
    """
    document = YAML(typ="safe").load((CHECKOUT / "ci/gitlab-ci.yml").read_text())
    variables = {
        name: value["value"] if isinstance(value, dict) else value
        for name, value in document["variables"].items()
        if name != "XDG_CACHE_HOME"  # the store of this host serves
    }
    lines = [*document["default"]["before_script"], *document[job]["script"]]
    script = "\n".join(["set -eo pipefail", *lines])
    return checkout.bash(script, **variables | SMALL | HUNT | matrix)


def matrix_of(job: str) -> list[dict[str, str]]:
    """The jobs that GitLab makes of one with a matrix."""
    document = YAML(typ="safe").load((CHECKOUT / "ci/gitlab-ci.yml").read_text())
    (axes,) = document[job]["parallel"]["matrix"]
    axes = {name: [value] if isinstance(value, str) else value for name, value in axes.items()}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def test_gitlab_nightly(checkout: Checkout) -> None:
    assert gitlab(checkout, "plan") == 0
    jobs = [matrix for matrix in matrix_of("night") if matrix["FLAVOUR"] == "release"]
    assert len(jobs) == 3
    for matrix in jobs:
        assert gitlab(checkout, "night", **matrix) == 0
    assert gitlab(checkout, "morning") == 0
    _, record = load(checkout.folder / "merged")
    assert record.verdict == "pass" and len(record.parts) == 3
    assert len({test.cell for test in record.tests}) == len(record.tests) == record.planned > 30
    assert (checkout.folder / "merged/metrics.txt").stat().st_size > 100


def test_gitlab_nightly_with_a_shard_that_was_killed(checkout: Checkout) -> None:
    assert gitlab(checkout, "plan") == 0
    jobs = [matrix for matrix in matrix_of("night") if matrix["FLAVOUR"] == "release"]
    for matrix in jobs[:2]:
        assert gitlab(checkout, "night", **matrix) == 0
    assert gitlab(checkout, "morning") == 4
    _, record = load(checkout.folder / "merged")
    assert record.error and "shard 3/3" in record.error.message and "is missing" in record.error.message


def test_gitlab_merge_request(checkout: Checkout) -> None:
    assert gitlab(checkout, "merge request") == 0
    assert (checkout.folder / "codequality.json").read_text().strip() == "[]"
    assert (checkout.folder / "runs/quick/junit.xml").is_file()


def test_gitlab_hunt(checkout: Checkout) -> None:
    for matrix in matrix_of("hunt"):
        assert gitlab(checkout, "hunt", **matrix) == 0
    seeds = [test.seed for n in (1, 2, 3) for test in load(checkout.folder / f"runs/hunt-{n}")[1].tests]
    assert sorted(seeds) == [1, 2, 3, 4, 5, 6]


def github(checkout: Checkout, file: str, job: str, **values: str) -> tuple[bool, str]:
    """Run a job of a GitHub workflow.

    Args:
        values: of the expressions, by their text without ``${{ }}``, with dots as underscores.

    Returns:
        Whether every step succeeded, and the step summary.
    """
    document = YAML(typ="safe").load((CHECKOUT / "ci/github" / file).read_text())
    steps = document["jobs"][job]["steps"]
    summary = checkout.folder.parent / f"summary-{job}"
    summary.write_text("")
    given = document.get("env", {}) | document["jobs"][job].get("env", {})
    variables = {
        name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1].replace(".", "_")], str(value))
        for name, value in given.items()
    }
    good = True
    for step in steps:
        if "run" in step and (good or step.get("if") == "always()"):
            code = checkout.bash(
                step["run"], "-e", **variables | SMALL | {"GITHUB_STEP_SUMMARY": str(summary)}
            )
            good = good and code == 0
    return good, summary.read_text()


def test_github_nightly(checkout: Checkout) -> None:
    assert github(checkout, "nightly.yml", "plan")[0]
    document = YAML(typ="safe").load((CHECKOUT / "ci/github/nightly.yml").read_text())
    for shard in document["jobs"]["night"]["strategy"]["matrix"]["shard"]:
        assert github(checkout, "nightly.yml", "night", matrix_flavour="release", matrix_shard=str(shard))[0]
    good, summary = github(checkout, "nightly.yml", "morning")
    assert good and summary.startswith("## pass: ")


def test_github_nightly_that_is_red_says_so(checkout: Checkout) -> None:
    assert github(checkout, "nightly.yml", "plan")[0]
    assert github(checkout, "nightly.yml", "night", matrix_flavour="release", matrix_shard="2")[0]
    good, summary = github(checkout, "nightly.yml", "morning")
    assert not good
    assert summary.startswith("## error: ") and "shard 1/3" in summary


def test_github_pull_request(checkout: Checkout) -> None:
    good, summary = github(checkout, "pull-request.yml", "quick")
    assert good and summary.startswith("## pass: ")


def test_github_hunt(checkout: Checkout) -> None:
    for shard in ("1", "2", "3"):
        good, summary = github(
            checkout, "hunt.yml", "hunt", matrix_shard=shard, inputs_hunt=HUNT["HUNT"], inputs_seeds="1-3"
        )
        assert good and summary.startswith("## pass: ")
