# SPDX-License-Identifier: GPL-2.0-or-later
"""Series applied by the real git in a work tree of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import git

from harness.validate.read import read_all
from harness.validate.worktree import Applied, Misfit, apply_series, work_tree


@pytest.fixture
def applied(xen, store, progress):
    """Applies a folder or a range to the base of the small tree."""

    def run(named: str | Path, base: str = "", then: Callable[[Path], object] = str):
        given = "" if ":" in str(named) else f"{xen.path}:{base or xen.base}"
        with (
            read_all([str(named)], xen=given, store=store, progress=progress) as (placed,),
            work_tree(placed.base, store=store, progress=progress) as tree,
        ):
            result = list(apply_series(tree, placed.series))
            assert git(tree.path, "status", "--porcelain") == ""
            then(tree.path)
            return result

    return run


def test_mails_and_commits_give_the_same_trees(xen, applied, tmp_path) -> None:
    xen.mails(tmp_path / "out")
    before = xen.head(), git(xen.path, "status", "--porcelain"), sorted((xen.path / ".git").iterdir())
    by_mail, by_range = applied(tmp_path / "out"), applied(f"{xen.path}:{xen.base}..HEAD")
    assert [one.tree for one in by_mail] == [one.tree for one in by_range]
    assert by_mail[2].tree == git(xen.path, "rev-parse", "HEAD^{tree}")
    assert all(isinstance(one, Applied) and not one.notes for one in by_mail)
    assert (
        xen.head(),
        git(xen.path, "status", "--porcelain"),
        sorted((xen.path / ".git").iterdir()),
    ) == before
    assert [one.commit for one in applied(tmp_path / "out")] == [one.commit for one in by_mail]


def test_the_hunk_that_does_not_apply_and_who_changed_that_place(xen, applied, tmp_path) -> None:
    paths = xen.mails(tmp_path / "out")
    git(xen.path, "checkout", "-q", xen.base)
    xen.commit(11, "elf", "xen: harmless")
    xen.commit(21, "other", "xen: in the way")
    result = applied(tmp_path / "out", base=xen.head())
    assert [type(one) for one in result] == [Applied, Misfit]
    bad = result[1]
    assert bad.reason == "hunk 1 of xen/common/event_channel.c (line 17) does not apply"
    assert "-line 20\n+twenty" in bad.proof
    assert bad.changed_by.endswith("xen: in the way")
    assert paths


def test_the_second_hunk_is_told(xen, applied, tmp_path) -> None:
    lines = xen.file.read_text().splitlines(keepends=True)
    lines[9], lines[29] = "ten\n", "thirty\n"
    xen.file.write_text("".join(lines))
    git(xen.path, "commit", "-q", "-a", "-m", "xen: two hunks")
    path = xen.mails(tmp_path / "out", count=1)[0]
    path.write_text(path.read_text().replace("-line 30", "-line XXX"))
    (bad,) = applied(tmp_path / "out", base="master~1")
    assert bad.reason == "hunk 2 of xen/common/event_channel.c (line 27) does not apply"


def test_a_missing_file_and_a_damaged_mail(xen, applied, tmp_path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    text = path.read_text()
    path.write_text(text.replace("event_channel.c", "absent.c"))
    assert (
        applied(tmp_path / "out", base="master~1")[0].reason
        == "xen/common/absent.c: No such file or directory"
    )
    path.write_text(text.replace(" line 36\n", ""))
    assert "the mail is damaged: corrupt at line" in applied(tmp_path / "out", base="master~1")[0].reason


@pytest.mark.parametrize(
    ("stuffed", "blank", "says"),
    [
        (True, False, ""),  # as RFC 3676 wants it; git does the rest
        (True, True, "none were joined"),  # a blank line of a hunk ends with a space
        (False, False, "as it stands"),  # as programs send it that only say so
    ],
)
def test_format_flowed(xen, applied, tmp_path, stuffed: bool, blank: bool, says: str) -> None:
    if blank:
        xen.commit(35, "", "xen: a blank line")
        xen.commit(36, "thirty-six", "xen: beside it")
    path = xen.mails(tmp_path / "out", count=1)[0]
    head, _, body = path.read_text().partition("\n\n")
    if stuffed:
        lines = body.splitlines(keepends=True)
        body = "".join(f" {line}" if line.startswith(" ") else line for line in lines)
    path.write_text(f"{head}\nMIME-Version: 1.0\nContent-Type: text/plain; format=flowed\n\n{body}")
    (one,) = applied(tmp_path / "out", base="master~1")
    assert one.tree == git(xen.path, "rev-parse", "master^{tree}")
    assert len(one.notes) == bool(says) and says in "".join(one.notes)


def test_crlf_in_base64(xen, applied, tmp_path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(
        head + b"\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(body.replace(b"\n", b"\r\n"))
    )
    (one,) = applied(tmp_path / "out", base="master~1")
    assert one.tree == git(xen.path, "rev-parse", "master^{tree}") and not one.notes


def test_a_result_that_its_author_did_not_have(xen, applied, tmp_path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    path.write_text(path.read_text().replace("+thirty-seven", "+thirty seven"))
    (one,) = applied(tmp_path / "out", base="master~1")
    assert "xen/common/event_channel.c: the result is not what its author had" in one.notes[0]


def test_files_that_are_made_renamed_and_removed(xen, applied, tmp_path) -> None:
    git(xen.path, "mv", "Makefile", "Makefile.old")
    (xen.path / "new").write_text("new\n")
    git(xen.path, "add", ".")
    git(xen.path, "commit", "-q", "-m", "xen: move")
    git(xen.path, "rm", "-q", "new")
    git(xen.path, "commit", "-q", "-m", "xen: remove")
    xen.mails(tmp_path / "out", count=5)
    result = applied(tmp_path / "out")
    assert [one.notes for one in result] == [()] * 5 and result[4].tree == git(
        xen.path, "rev-parse", "HEAD^{tree}"
    )


def test_what_was_applied_before_leaves_the_files_alone(xen, applied, tmp_path) -> None:
    xen.mails(tmp_path / "out")
    times: list[int] = []
    look = lambda path: times.append((path / "xen/common/event_channel.c").stat().st_mtime_ns)  # noqa: E731
    assert applied(tmp_path / "out", then=look) == applied(tmp_path / "out", then=look)
    assert times[0] == times[1]
    path = tmp_path / "out/0003-xen-evtchn-third.patch"
    path.write_text(path.read_text().replace("+thirty-seven", "+38"))
    assert applied(tmp_path / "out", then=look)[2].notes


def test_a_tree_whose_objects_were_removed_is_made_again(xen, applied, tmp_path) -> None:
    xen.mails(tmp_path / "out")
    place: list[Path] = []
    first = applied(tmp_path / "out", then=place.append)
    (place[0] / ".git/objects/info/alternates").write_text(f"{tmp_path}/gone\n")
    assert [one.tree for one in applied(tmp_path / "out")] == [one.tree for one in first]


def test_a_killed_validation_is_cleaned_up_after(xen, applied, tmp_path) -> None:
    xen.mails(tmp_path / "out")
    place: list[Path] = []
    applied(tmp_path / "out", then=place.append)
    (place[0] / ".git/index.lock").touch()
    (place[0] / ".git/rebase-apply").mkdir()
    (place[0] / "left.c").touch()
    assert len(applied(tmp_path / "out")) == 3
