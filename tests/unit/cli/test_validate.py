# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for series, on the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from validate.conftest import edit, small_tree

from harness.cli.validate import numbers
from harness.core.paths import CHECKOUT
from harness.validate import sandbox


def test_show_says_what_is_wrong_and_leaves_nothing(evh, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    for word, says in (
        ("empty", "holds no patch"), ("absent", "no series"), ("empty:a..b", "not a git tree"),
    ):  # fmt: skip
        got = evh("series", "show", word)
        assert got.exit_code == 2
        assert says in got.stderr and "hint:" in got.stderr
    after = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in after if name != "cache"] == before
    assert not list((tmp_path / "cache").rglob("evh-mails-*"))


def test_show_of_a_range(evh, tmp_path: Path) -> None:
    tree = tmp_path / "xen"
    (tree / "xen/common").mkdir(parents=True)

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tree, "-c", "user.name=t", "-c", "user.email=t@x", *words], check=True)

    git("init", "-q")
    for text in ("one", "two"):
        (tree / "xen/common/event_channel.c").write_text(f"{text}\n")
        git("add", ".")
        git("commit", "-q", "-m", f"xen: {text}")
    got = evh("series", "show", f"{tree}:HEAD~1..HEAD")
    assert got.exit_code == 0
    assert got.stdout.splitlines()[:2] == [f"{tree}:HEAD~1..HEAD: 1 patch for xen", "title: xen: two"]


def test_validate_of_what_is_no_series_leaves_nothing(evh, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, says in (
        (("empty",), "holds no patch"),
        (("empty", "--level", "deep"), "unknown level 'deep'"),
        (("empty", "--patches", "x"), "not a range of numbers"),
        (("empty", "--xen-tree", "x"), "No such option"),
    ):
        got = evh("validate", *words)
        assert got.exit_code == 2 and says in got.stderr
        assert not (tmp_path / "runs").exists()


def test_b4_check_of_a_mail_that_nobody_validated(tmp_path: Path) -> None:
    mail = (
        "From a Mon Sep 17 00:00:00 2001\nFrom: a@example.org\nSubject: [PATCH] x\n\n---\n"
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    )
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "harness", "b4-check"]
    got = subprocess.run(command, input=mail, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert got.returncode == 0 and not got.stderr
    assert [(one["tool"], one["status"]) for one in json.loads(got.stdout)] == [("evtchn-harness", "warn")]
    got = subprocess.run(command, input="", capture_output=True, text=True, env=env, cwd=tmp_path)
    assert got.returncode == 2 and "holds no mail" in got.stderr


def test_numbers() -> None:
    assert [numbers(text) for text in ("", "3", "2-5")] == [(1, 0), (3, 3), (2, 5)]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "harness", *(str(word) for word in words)]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(CHECKOUT)}


SANDBOX = "--no-sandbox" if sandbox.problem() else "--sandbox"


def test_validate_prints_a_growing_table_and_leaves_what_to_answer_with(tmp_path: Path, env) -> None:
    tree = small_tree(tmp_path / "xen")
    edit(tree, "int main", "/* why */ int main", "xen: a comment")
    edit(tree, "return 0", "return nonsense", "xen: broken")
    words = command("validate", f"{tree.path}:{tree.base}..HEAD", "--level", "build", SANDBOX)
    got = subprocess.run(words, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert got.returncode == 1, got.stderr
    rows = [line.split() for line in got.stdout.splitlines()]
    assert ["1", "yes", "1", "remark", "yes", "nothing", "0", "xen:", "a", "comment"] in rows
    assert any(row[:2] == ["2", "yes"] and "NO" in row for row in rows)
    assert re.search(r"^patch 2 does not build: common/event_channel\.c:\d+:\d+: error:", got.stdout, re.M)
    assert "fail: 2 patches; red: 2; " in got.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "junit.xml", "validate.html", "validate.json", "validate.txt",
    }  # fmt: skip
    assert "Traceback" not in got.stderr


def test_a_killed_validation_goes_on_where_it_was(tmp_path: Path, env) -> None:
    tree = small_tree(tmp_path / "xen")
    makefile = tree.path / "xen/Makefile"
    edit(tree, "cost = 1000", "cost = 1001", "xen: one")
    makefile.write_text(makefile.read_text().replace("\tgcc", "\tsleep 3\n\tgcc"))
    edit(tree, "cost = 1001", "cost = 1002", "xen: two, slowly")
    words = command("validate", f"{tree.path}:{tree.base}..HEAD", "--level", "build", SANDBOX, "--run-dir")
    with subprocess.Popen([*words, "one"], stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("1 "):
                time.sleep(1)  # make is asleep
                first.kill()
    killed = json.loads((tmp_path / "one/validate.json").read_text())
    assert killed["state"] == "running" and [one["number"] for one in killed["series"][0]["steps"]] == [0, 1]
    got = subprocess.run([*words, "two"], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert got.returncode == 0, got.stderr
    again = json.loads((tmp_path / "two/validate.json").read_text())
    assert [one["build"]["hit"] for one in again["series"][0]["steps"]] == [True, True, False]
    assert not list((tmp_path / "cache").rglob(".make-*"))
