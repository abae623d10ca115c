# SPDX-License-Identifier: GPL-2.0-or-later
"""Ranges of a real git tree."""

from __future__ import annotations

import pytest
from fakes import git

from harness.core.errors import UserError
from harness.validate.ranges import is_range, read_range


def test_commits_oldest_first(xen) -> None:
    series = read_range(f"{xen.path}:{xen.base[:8]}..master")
    assert [patch.subject for patch in series.patches] == [
        "xen/evtchn: first", "xen/evtchn: second", "xen/evtchn: third",
    ]  # fmt: skip
    assert (series.base, series.tip, series.tree) == (xen.base, xen.head(), xen.path)
    assert series.patches[2].commit == xen.head() and "+thirty-seven" in series.patches[2].diff
    assert series.patches[0].message.strip() == "Because."
    assert read_range(f"tree:{xen.base}..", tree=xen.path).patches == series.patches
    assert git(xen.path, "status", "--porcelain") == ""


def test_what_is_a_range(xen, tmp_path) -> None:
    assert is_range("/x:a..b") and is_range("tree:a..")
    assert not is_range("../series") and not is_range("a.mbx")
    (tmp_path / "a:b..c").mkdir()
    assert not is_range(str(tmp_path / "a:b..c"))


def test_what_is_no_range(xen, tmp_path) -> None:
    git(xen.path, "checkout", "-q", "-b", "side", xen.base)
    xen.commit(30, "thirty", "xen/evtchn: aside")
    git(xen.path, "checkout", "-q", "-b", "merged", "master")
    git(xen.path, "merge", "-q", "--no-edit", "side")
    for text, says in (
        (f"{xen.path}:{xen.base}..{xen.base}", "no commit in this range"),
        (f"{xen.path}:{xen.base}..absent", "no commit absent"),
        (f"{xen.path}:master..side", "master is no ancestor of side"),
        (f"{xen.path}:{xen.base}..merged", "1 of its 5 commits are merges"),
        (f"{xen.path}:a...b", "is no range"),
        (f"{tmp_path}:a..b", "is not a git tree that can be read: fatal: not a git repository"),
        (f"{tmp_path}/absent:a..b", "there is no tree"),
        ("tree:a..b", "no tree was given"),
        (f"{xen.path}:--all..b", "no commit --all"),
    ):
        with pytest.raises(UserError, match=says):
            read_range(text)
