# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands for series, on the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path


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
