# SPDX-License-Identifier: GPL-2.0-or-later
"""A developer's own tree, taken by the real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import git

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.source import series
from harness.source.trees import content_of, own_tree
from harness.store.artifacts import Store


def own(tmp_path: Path) -> Path:
    tree = tmp_path / "mine"
    (tree / "xen/common").mkdir(parents=True)
    (tree / "xen/common/event_channel.c").write_text("committed\n")
    (tree / ".gitignore").write_text("*.o\n")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "base")
    return tree


def test_an_own_tree_is_taken_as_it_stands(store: Store, progress: Progress, tmp_path: Path) -> None:
    tree = own(tmp_path)
    clean = content_of(tree)
    (tree / "xen/common/event_channel.c").write_text("edited\n")
    (tree / "xen/common/new.c").write_text("untracked\n")
    (tree / "xen/common/old.o").write_text("ignored\n")
    source = own_tree("xen", tree)
    assert source.note == "2 uncommitted changes"
    assert content_of(tree) != clean
    with series.prepared(source, [], store=store, progress=progress) as copy:
        assert (copy.path / "xen/common/event_channel.c").read_text() == "edited\n"
        assert (copy.path / "xen/common/new.c").exists()
        assert not (copy.path / "xen/common/old.o").exists()
        before = (copy.path / ".gitignore").stat().st_mtime_ns
    # The developer's index is unchanged.
    assert git(tree, "diff", "--cached", "--name-only") == ""
    (tree / "xen/common/new.c").unlink()
    with series.prepared(source, [], store=store, progress=progress) as copy:
        assert not (copy.path / "xen/common/new.c").exists()
        assert (copy.path / ".gitignore").stat().st_mtime_ns == before


def test_an_own_tree_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a xen source tree"):
        own_tree("xen", tmp_path)
