# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series applied to a tiny tree by the real git."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from fakes import git

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Source
from harness.source import series
from harness.store.artifacts import Store
from harness.store.hashes import sha256_of

FIRST = """\
From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: evtchn-harness <evtchn-harness@localhost>
Date: Wed, 1 Jan 2025 00:00:00 +0000
Subject: [PATCH 1/2] xen/evtchn: change the
 second line

Because.
---
diff --git a/common/file.c b/common/file.c
--- a/common/file.c
+++ b/common/file.c
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
--\x20
2.39.0
"""
SECOND = FIRST.replace("-two\n+TWO", "-TWO\n+deux").replace(
    "[PATCH 1/2] xen/evtchn: change the\n second line", "[PATCH 2/2] in French"
)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    top = tmp_path / "xen-4.20.0"
    (top / "common").mkdir(parents=True)
    (top / "common/file.c").write_text("one\ntwo\nthree\n")
    (top / ".gitignore").write_text("*.o\nshipped\n")
    (top / "shipped").write_text("ignored by git, but part of the tarball\n")
    tarball = tmp_path / "xen.tar.xz"
    with tarfile.open(tarball, "w:xz") as tar:
        tar.add(top, top.name)
    return Source(
        name="xen", version="4.20.0", origin="test", sha256=sha256_of(tarball), tarball=tarball
    )


def patches(tmp_path: Path, *texts: str) -> list[Path]:
    paths = []
    for number, text in enumerate(texts, 1):
        paths.append(tmp_path / f"{number:04}-patch.patch")
        paths[-1].write_text(text)
    return paths


def test_patches_become_commits_in_order(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    with series.prepared(source, patches(tmp_path, FIRST, SECOND), store=store, progress=progress) as tree:
        assert (tree.path / "common/file.c").read_text() == "one\ndeux\nthree\n"
        assert (tree.path / "shipped").exists()
        assert tree.series == ("xen/evtchn: change the second line", "in French")
        assert git(tree.path, "log", "--format=%s").splitlines() == [
            "in French", "xen/evtchn: change the second line", "xen 4.20.0",
        ]
        assert git(tree.path, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
        assert git(tree.path, "status", "--porcelain") == ""


def test_the_same_again_gives_the_same_commit(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    heads = []
    for root in (store.root, tmp_path / "other"):
        with series.prepared(
            source, patches(tmp_path, FIRST), store=Store(root), progress=progress
        ) as tree:
            heads.append(git(tree.path, "rev-parse", "HEAD"))
    assert heads[0] == heads[1]


def test_an_empty_series_and_a_change_of_series(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    with series.prepared(source, patches(tmp_path, FIRST), store=store, progress=progress) as tree:
        (tree.path / "left.o").touch()
        (tree.path / "common/file.c").write_text("edited by accident")
        first = tree.digest
    with series.prepared(source, [], store=store, progress=progress) as tree:
        assert (tree.path / "common/file.c").read_text() == "one\ntwo\nthree\n"
        assert not (tree.path / "left.o").exists()
        assert (tree.path / "shipped").exists()
        assert tree.digest != first and tree.series == ()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (SECOND.replace("-TWO", "-ZWEI"), r"does not apply to common/file\.c:1"),
        (SECOND.replace("common/file.c", "common/absent.c"), r"does not apply to common/absent\.c"),
        (SECOND.replace(" three\n", ""), "is corrupt at line"),
        ("just words\n", "does not contain a patch"),
    ],
)
def test_a_patch_that_does_not_apply_is_named_and_nothing_is_left(
    source: Source, store: Store, progress: Progress, tmp_path: Path, bad: str, says: str
) -> None:
    with (
        pytest.raises(UserError, match=says) as caught,
        series.prepared(source, patches(tmp_path, FIRST, bad), store=store, progress=progress),
    ):
        pytest.fail("applied")
    assert "0002-patch.patch" in caught.value.message
    assert "git am" in caught.value.hint
    path = series.tree_path(store, source)
    assert (path / "common/file.c").read_text() == "one\ntwo\nthree\n"
    assert git(path, "rev-parse", "HEAD") == git(path, "rev-parse", series.BASE_REF)
    assert not (path / ".git/rebase-apply").exists()


def test_a_killed_run_is_cleaned_up_after(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    with series.prepared(source, [], store=store, progress=progress) as tree:
        path = tree.path
    (path / ".git/index.lock").touch()
    (path / ".git/rebase-apply").mkdir()
    half = path.parent / f".make-{path.name}-dead"
    half.mkdir()
    with series.prepared(source, patches(tmp_path, FIRST), store=store, progress=progress) as tree:
        assert (tree.path / "common/file.c").read_text() == "one\nTWO\nthree\n"
    shutil.rmtree(path)
    with series.prepared(source, [], store=store, progress=progress):
        assert not half.exists()


COVER = FIRST[: FIRST.index("diff --git")].replace("[PATCH 1/2] xen/evtchn: change the\n second line", "why")


def applied(source: Source, files: list[Path], store: Store) -> tuple[tuple[str, ...], str]:
    """The subjects that were applied, and what the user was told."""
    out = io.StringIO()
    with (
        Progress(out) as progress,
        series.prepared(source, files, store=store, progress=progress) as tree,
    ):
        assert (tree.path / "common/file.c").read_bytes() == b"one\ndeux\nthree\n"
    return tree.series, out.getvalue()


def test_mails_saved_with_crlf_apply_and_it_is_said(source: Source, store: Store, tmp_path: Path) -> None:
    files = patches(tmp_path, FIRST, SECOND)
    files[0].write_bytes(files[0].read_bytes().replace(b"\n", b"\r\n"))
    subjects, said = applied(source, files, store)
    assert subjects == ("xen/evtchn: change the second line", "in French")
    assert "0001-patch.patch: its CRLF line ends" in said and "0002" not in said


def test_some_lines_with_crlf_are_named_if_the_patch_does_not_apply(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    head, _, body = FIRST.partition("diff --git")
    (file,) = patches(tmp_path, "")
    file.write_bytes((head + ("diff --git" + body).replace("\n", "\r\n")).encode())
    with (
        pytest.raises(UserError, match="CRLF"),
        series.prepared(source, [file], store=store, progress=progress),
    ):
        pass


def test_a_mailbox_with_its_cover_letter_is_read_as_git_reads_it(
    source: Source, store: Store, tmp_path: Path
) -> None:
    subjects, said = applied(source, patches(tmp_path, COVER + FIRST + SECOND), store)
    assert subjects == ("xen/evtchn: change the second line", "in French")
    assert "0001-patch.patch: 1 of its 3 mails hold no patch" in said


def test_a_cover_letter_alone_is_no_patch(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    files = patches(tmp_path, FIRST, COVER)
    with (
        pytest.raises(UserError, match=r"0002-patch\.patch does not contain a patch"),
        series.prepared(source, files, store=store, progress=progress),
    ):
        pass


def test_a_numbered_mail_without_a_diff_is_damaged_and_no_cover_letter(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    head, _, body = SECOND.partition("diff --git")
    quoted = head + "".join(f"> {line}\n" for line in ("diff --git" + body).splitlines())
    with (
        pytest.raises(UserError, match=r"2/2.*holds no patch"),
        series.prepared(source, patches(tmp_path, FIRST + quoted), store=store, progress=progress),
    ):
        pass


def test_a_patch_that_was_removed_meanwhile(
    source: Source, store: Store, progress: Progress, tmp_path: Path
) -> None:
    (file,) = patches(tmp_path, FIRST)
    with pytest.raises(UserError, match="cannot read the patch"):
        series.apply_file(tmp_path, file.with_name("0002-gone.patch"))
