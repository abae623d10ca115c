# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of a series, found in real trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import git

from harness.core.errors import UserError
from harness.validate.base import Search, blobs_of, find_base
from harness.validate.ranges import read_range
from harness.validate.read import read_one


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def search(store, progress):
    return lambda **given: Search(store=store, progress=progress, given=given)


def test_by_blobs_in_the_history_of_a_clone(xen, scratch, tmp_path, search) -> None:
    """The branch has moved on, and one of the files with it."""
    xen.mails(tmp_path / "out")
    git(xen.path, "branch", "series")
    git(xen.path, "reset", "-q", "--hard", xen.base)
    (xen.path / "Makefile").write_text("none:\n")
    git(xen.path, "commit", "-q", "-a", "-m", "elsewhere")
    elsewhere = xen.head()
    xen.commit(3, "drei", "xen: in the way")
    git(xen.path, "branch", "-q", "-D", "series")
    series = read_one(str(tmp_path / "out"), scratch)
    found = find_base(series, search(xen=str(xen.path)))
    # The newest commit that changes these files and still has their old content.
    assert found.commit == xen.base and "newest commit with the blobs of all 1 files" in found.how
    assert "1 of 1 files are not as the series expects" in found.tried[0]
    found = find_base(series, search(xen=f"{xen.path}:{elsewhere}"))
    assert found.commit == elsewhere and "has the blobs" in found.how


def test_by_base_commit(xen, scratch, tmp_path, search) -> None:
    xen.mails(tmp_path / "out", f"--base={xen.base}")
    series = read_one(str(tmp_path / "out"), scratch)
    found = find_base(series, search(xen=str(xen.path)))
    assert (found.kind, found.commit) == ("xen", xen.base)
    assert found.how == f"base-commit {xen.base[:12]}"


def test_in_a_base_of_the_project(xen, scratch, tmp_path, search, bases_of) -> None:
    """By its blobs, and by the base-commit that upstream has for the release."""
    xen.mails(tmp_path / "out")
    found = find_base(read_one(str(tmp_path / "out"), scratch), search())
    assert found.pinned and found.name == "xen 4.20.0" and "has the blobs of all 1 files" in found.how
    xen.mails(tmp_path / "out2", f"--base={xen.base}")
    (scratch / "2").mkdir()
    found = find_base(read_one(str(tmp_path / "out2"), scratch / "2"), search())
    assert found.how == f"base-commit {xen.base[:12]}, which that release is"


def test_a_build_in_that_base_is_not_waited_for(xen, scratch, tmp_path, search, bases_of, store) -> None:
    xen.mails(tmp_path / "out")
    series = read_one(str(tmp_path / "out"), scratch)
    found = find_base(series, search())
    with store.lock(f"tree-{found.repo.name}", what="a build", say=print):
        assert find_base(series, search()) == found


def test_not_to_be_found(xen, scratch, tmp_path, search, bases_of) -> None:
    text = xen.mails(tmp_path / "out", f"--base={xen.base}", count=1)[0]
    text.write_text(text.read_text().replace(xen.base, "0123456789abcdef0123456789abcdef01234567"))
    with pytest.raises(UserError, match="is not to be found") as caught:
        find_base(read_one(str(text), scratch), search())
    assert "base-commit 0123456789ab: not in xen 4.20.0" in caught.value.message
    assert "1 of 1 files are not as the series expects them" in caught.value.message


def test_a_tree_that_was_given_is_used_all_the_same(xen, scratch, tmp_path, search) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    text = path.read_text()
    index = text[text.index("index ") :].split("\n")[0]
    path.write_text(text.replace(index, "index 1234567..89abcde 100644"))
    found = find_base(read_one(str(path), scratch), search(xen=str(xen.path)))
    assert found.commit == xen.head() and "not all of the patches' blobs" in found.how


def test_a_range_has_its_own(xen, linux, search) -> None:
    found = find_base(read_range(f"{linux.path}:{linux.base}..HEAD"), search())
    assert (found.kind, found.commit, found.repo) == ("linux", linux.base, linux.path)


def test_neither_xen_nor_linux(scratch, tmp_path, search) -> None:
    tree = tmp_path / "qemu"
    tree.mkdir()
    git(tree, "init", "-q")
    (tree / "hw").mkdir()
    (tree / "hw/pc.c").write_text("int x;\n")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "hw: one")
    git(tree, "format-patch", "-q", "-o", str(tmp_path / "out"), "--root", "-1")
    with pytest.raises(UserError, match=r"neither a series of Xen nor one of Linux.*: it changes hw/pc\.c"):
        find_base(read_one(str(tmp_path / "out"), scratch), search())
    with pytest.raises(UserError, match="neither a Xen tree nor a Linux tree"):
        (tree / "hw/pc.c").write_text("int y;\n")
        git(tree, "commit", "-q", "-a", "-m", "hw: two")
        find_base(read_range(f"{tree}:HEAD~1..HEAD"), search())


@pytest.mark.parametrize(
    ("given", "says"),
    [("absent", "neither a base of this project nor a folder"), ("{tmp}", "not a git tree"),
     ("{linux}", "is not a xen tree"), ("{xen}:absent", "has no commit absent")],
)  # fmt: skip
def test_what_no_base_can_be(xen, linux, scratch, tmp_path, search, given, says) -> None:
    xen.mails(tmp_path / "out")
    series = read_one(str(tmp_path / "out"), scratch)
    (tmp_path / "plain").mkdir()
    given = given.format(tmp=tmp_path / "plain", linux=linux.path, xen=xen.path)
    with pytest.raises(UserError, match=says):
        find_base(series, search(xen=given))


def test_the_first_blob_of_each_file_counts(xen) -> None:
    series = read_range(f"{xen.path}:{xen.base}..HEAD")
    assert blobs_of(series.patches) == {
        "xen/common/event_channel.c": git(xen.path, "rev-parse", f"{xen.base}:xen/common/event_channel.c")
    }
