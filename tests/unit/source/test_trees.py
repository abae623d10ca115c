# SPDX-License-Identifier: GPL-2.0-or-later
"""A developer's own tree, taken by the real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fakes import git, xen_tree

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.source import series
from harness.source.trees import content_of, own_tree
from harness.store.artifacts import Store


def own(tmp_path: Path) -> Path:
    tree = xen_tree(tmp_path / "mine")
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
    assert source.version == "4.20.0"
    assert source.note.endswith(", 2 uncommitted changes")
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


def test_a_tree_without_git_has_a_version_too(tmp_path: Path) -> None:
    source = own_tree("xen", xen_tree(tmp_path / "mine", sub=22))
    assert (source.version, source.note) == ("4.22.0", "not a git tree")


def copied(tree: Path, store: Store, progress: Progress) -> set[str]:
    """The files of the copy that is built."""
    with series.prepared(own_tree("xen", tree), [], store=store, progress=progress) as copy:
        files = (path.relative_to(copy.path) for path in copy.path.rglob("*") if path.is_file())
        return {str(path) for path in files if path.parts[0] != ".git"}


FILES = {".gitignore", "xen/Makefile", "xen/common/event_channel.c"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a tree to another user")
def test_a_tree_of_another_user_is_read(store: Store, progress: Progress, tmp_path: Path) -> None:
    tree = own(tmp_path)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(subprocess.CalledProcessError):
        git(tree, "status")
    assert copied(tree, store, progress) == FILES


def test_worktrees_and_shallow_and_shared_clones_are_read(
    store: Store, progress: Progress, tmp_path: Path
) -> None:
    tree = own(tmp_path)
    git(tree, "commit", "--allow-empty", "-qm", "another")
    git(tree, "worktree", "add", "-q", "--detach", tmp_path / "worktree")
    git(tmp_path, "clone", "-q", "--shared", tree, "shared")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{tree}", "shallow")
    for name in ("worktree", "shared", "shallow"):
        assert copied(tmp_path / name, store, progress) == FILES, name
        assert content_of(tmp_path / name) == content_of(tree)


def test_a_sparse_checkout_is_built_as_committed_and_says_so(
    store: Store, progress: Progress, tmp_path: Path
) -> None:
    tree = own(tmp_path)
    (tree / "tools").mkdir()
    (tree / "tools/xl.c").write_text("xl\n")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "tools")
    git(tree, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--sparse", tree, "sparse")
    git(tmp_path / "sparse", "sparse-checkout", "set", "xen")
    assert not (tmp_path / "sparse/tools").exists()
    said = own_tree("xen", tmp_path / "sparse").note
    assert said.endswith("sparse checkout: 1 files that are not checked out are taken as committed")
    assert copied(tmp_path / "sparse", store, progress) == FILES | {"tools/xl.c"}

    # What a partial clone never fetched cannot be taken from anywhere.
    git(tmp_path, "clone", "-q", "--sparse", "--filter=blob:none", f"file://{tree}", "partial")
    git(tmp_path / "partial", "sparse-checkout", "set", "xen")
    with pytest.raises(UserError, match=r"partial is not complete: 1 of its files .* tools/xl\.c"):
        copied(tmp_path / "partial", store, progress)


@pytest.mark.parametrize("by", ["git", "plain"])
def test_a_series_is_applied_to_a_copy_of_an_own_tree(
    store: Store, progress: Progress, tmp_path: Path, by: str
) -> None:
    tree = own(tmp_path)
    file = tree / "xen/common/event_channel.c"
    file.write_text("series\n")
    git(tree, "commit", "-qam", "xen: a series")
    patch = Path(git(tree, "format-patch", "-1", "-o", tmp_path))
    git(tree, "reset", "-q", "--hard", "HEAD~1")
    if by == "plain":
        shutil.rmtree(tree / ".git")
    for said in ("one\n", "two\n"):
        (tree / "xen/new.c").write_text(said)
        source = own_tree("xen", tree)
        for _ in range(2):
            with series.prepared(source, [patch], store=store, progress=progress) as copy:
                assert (copy.path / "xen/common/event_channel.c").read_text() == "series\n"
                assert (copy.path / "xen/new.c").read_text() == said
                assert copy.series == ("xen: a series",)
                assert copy.pristine == series.digest_of(source, ())
        assert file.read_text() == "mine\n"
    file.write_text("other\n")
    with (
        pytest.raises(UserError, match=r"does not apply to xen/common/event_channel\.c"),
        series.prepared(own_tree("xen", tree), [patch], store=store, progress=progress),
    ):
        pass


def test_content_of_a_tree_without_git_follows_each_edit(tmp_path: Path) -> None:
    tree = xen_tree(tmp_path / "mine")
    file = tree / "xen/common/event_channel.c"
    before = content_of(tree)
    assert content_of(tree) == before
    file.write_text("MINE\n")
    other = content_of(tree)
    assert other != before
    os.utime(file, ns=(0, 0))
    assert content_of(tree) == other, "times are not content"
    file.rename(tree / "xen/common/event_fifo.c")
    assert content_of(tree) not in (before, other)
    (tree / "xen/common/event_fifo.c").rename(file)
    file.write_text("mine\n")
    assert content_of(tree) == before


def test_an_own_tree_is_only_read(store: Store, progress: Progress, tmp_path: Path) -> None:
    tree = own(tmp_path)
    (tree / "xen/common/event_channel.c").touch()  # the index wants a refresh

    def state() -> dict[Path, tuple[int, bytes]]:
        """Times and content; git renews the times of objects that it finds to be there already."""
        files = (path for path in (tree / ".git").rglob("*") if path.is_file())
        return {
            path: (0 if "objects" in path.parts else path.stat().st_mtime_ns, path.read_bytes())
            for path in files
        }

    before = state()
    copied(tree, store, progress)
    assert state() == before
