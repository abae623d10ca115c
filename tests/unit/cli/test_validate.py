# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for series, on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.cli.validate import numbers
from harness.core.paths import CHECKOUT


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
