# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails as mail programs and lists' archives save them, read by the real git."""

from __future__ import annotations

import base64
import gzip
import mailbox
import re
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.validate import mails


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_a_folder_in_order_of_name(xen, tmp_path: Path, scratch: Path) -> None:
    xen.mails(tmp_path / "out")
    (tmp_path / "out/0001-x.patch~").write_text("From x\nSubject: old\n\n")
    (tmp_path / "out/notes.txt").write_text("remember\n")
    (tmp_path / "out/config").mkdir()
    found, left_out = mails.read(tmp_path / "out", scratch)
    assert [mail.subject for mail in found] == [
        f"[PATCH {n}/3] xen/evtchn: {name}" for n, name in enumerate(("first", "second", "third"), 1)
    ]
    assert found[0].message == "Because.\n"
    assert found[0].author == "t <t@example.org>"
    assert found[0].diff.startswith("---\n xen/common/event_channel.c | 2 +-\n")
    assert found[0].written_by_git
    assert {(one.what, one.why) for one in left_out} == {
        ("0001-x.patch~", "left by an editor or by patch(1)"),
        ("notes.txt", "neither named like a patch nor a mail"),
        ("config/", "a folder"),
    }


def test_a_cover_letter_is_read_whatever_its_suffix(xen, tmp_path: Path, scratch: Path) -> None:
    cover = xen.mails(tmp_path / "out", "--cover-letter")[0]
    cover.rename(cover.with_suffix(".txt"))
    found, left_out = mails.read(tmp_path / "out", scratch)
    assert found[0].subject == "[PATCH 0/3] *** SUBJECT HERE ***" and not left_out


def test_the_cover_letter_that_b4_leaves_beside_a_mailbox(xen, tmp_path: Path, scratch: Path) -> None:
    cover, *patches = xen.mails(tmp_path / "out", "--cover-letter")
    cover.rename(tmp_path / "v1_it.cover")
    box = tmp_path / "v1_it.mbx"
    box.write_bytes(b"".join(path.read_bytes() for path in patches))
    found, _ = mails.read(box, scratch)
    assert [mail.subject[:11] for mail in found] == [f"[PATCH {n}/3]" for n in range(4)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_mailbox(xen, tmp_path: Path, scratch: Path, packed: bool) -> None:
    box = tmp_path / "series.mbx"
    data = b"".join(path.read_bytes() for path in xen.mails(tmp_path / "out", "--cover-letter"))
    box.write_bytes(gzip.compress(data) if packed else data)
    found, _ = mails.read(box, scratch)
    assert [mail.place for mail in found] == [1, 2, 3, 4]
    assert found[3].where == "series.mbx, mail 4"


def test_a_maildir(xen, tmp_path: Path, scratch: Path) -> None:
    box = mailbox.Maildir(tmp_path / "maildir")
    for path in xen.mails(tmp_path / "out"):
        box.add(path.read_bytes().partition(b"\n")[2])
    found, _ = mails.read(tmp_path / "maildir", scratch)
    assert sorted(mail.subject[-5:] for mail in found) == ["econd", "first", "third"]


def test_crlf_is_taken_for_the_mail_programs(xen, tmp_path: Path, scratch: Path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    plain = mails.read(path, scratch)[0][0]
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = mails.read(path, scratch)[0][0]
    assert (found.diff, found.message) == (plain.diff, plain.message)
    assert found.notes == ("CRLF line ends, taken for the mail program's",)


def test_crlf_lines_of_the_tree_itself_stay(xen, tmp_path: Path, scratch: Path) -> None:
    xen.commit(5, "windows\r", "xen/evtchn: CR")
    found = mails.read(xen.mails(tmp_path / "out", count=1)[0], scratch)[0][0]
    assert "+windows\r\n" in found.diff and not found.notes and not found.quoted_cr


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_base64(xen, tmp_path: Path, scratch: Path, ends: bytes) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    plain = mails.read(path, scratch)[0][0]
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(
        head + b"\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(body.replace(b"\n", ends))
    )
    found = mails.read(path, scratch)[0][0]
    assert found.diff.splitlines() == plain.diff.splitlines()
    assert found.quoted_cr == (ends == b"\r\n") == bool(found.notes)
    assert "\r" not in found.diff


def test_format_flowed_is_told(xen, tmp_path: Path, scratch: Path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    assert not mails.read(path, scratch)[0][0].flowed
    path.write_text(
        path.read_text().replace(
            "\n\n", "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed\n\n", 1
        )
    )
    assert mails.read(path, scratch)[0][0].flowed


def test_scissors_cut_what_is_above_and_it_is_told(xen, tmp_path: Path, scratch: Path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    path.write_text(path.read_text().replace("Because.", "Hello list,\n\n-- >8 --\nBecause."))
    found = mails.read(path, scratch)[0][0]
    assert found.message == "Because.\n"
    assert found.notes == ("what is above its scissors line was left out",)


def test_ids_and_references(xen, tmp_path: Path, scratch: Path) -> None:
    xen.mails(tmp_path / "out", "--thread")
    first, second, _ = mails.read(tmp_path / "out", scratch)[0]
    assert re.fullmatch(r"<.+@.+>", first.message_id)
    assert first.message_id in second.references


def test_what_is_no_series(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.mbox").write_bytes(b"\x00\xff" * 100)
    (tmp_path / "nothing.mbox").write_bytes(b"")
    (tmp_path / "cut.mbox.gz").write_bytes(gzip.compress(b"From x\n" * 100)[:20])
    (tmp_path / "bare.diff").write_text("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    for name, says in (
        ("absent", "there is no series at"),
        ("empty", "holds no patch"),
        ("junk.mbox", "holds no mail"),
        ("nothing.mbox", "holds no mail"),
        ("cut.mbox.gz", "cannot read"),
        ("bare.diff", "holds no mail"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            mails.read(tmp_path / name, scratch)
        assert name in caught.value.message and caught.value.hint
