# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mails of a folder or mailbox are the series; each mail was made by `git format-patch`."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.validate import mails
from harness.validate.choose import choose, read_subject
from harness.validate.mails import Mail
from harness.validate.patches import Series


def chosen(where: Path, scratch: Path) -> Series:
    found, left_out = mails.read(where, scratch)
    return choose(found, source=where, left_out=left_out)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def numbers(series: Series) -> list[tuple[int, str]]:
    return [(patch.number, patch.subject.rpartition(" ")[2]) for patch in series.patches]


WHOLE = [(1, "first"), (2, "second"), (3, "third")]


@pytest.mark.parametrize(
    ("subject", "title", "version", "number", "total"),
    [
        ("[PATCH] x86: one", "x86: one", (1, 0), None, None),
        ("[PATCH v2 3/7] xen: it", "xen: it", (2, 0), 3, 7),
        ("[RFC PATCH v3 00/12] it", "it", (3, 0), 0, 12),
        ("[PATCH RFC V4.1 2/3] it", "it", (4, 1), 2, 3),
        ("[PATCHv2 2/3] it", "it", (2, 0), 2, 3),
        ("[PATCH 6.12.y 1/2] it", "it", (1, 0), 1, 2),
        ("[Xen-devel] [PATCH for-4.20 01/10] it", "it", (1, 0), 1, 10),
        ("[PATCH,v5, 1/2] it", "it", (5, 0), 1, 2),
        ("no brackets 1/2 v3", "no brackets 1/2 v3", (1, 0), None, None),
    ],
)
def test_subjects(subject, title, version, number, total) -> None:
    mail = Mail(file=Path("f"), place=0, path=Path("f"), subject=subject, author="", message="", diff="")
    one = read_subject(mail)
    assert (one.title, one.version, one.number, one.total) == (title, version, number, total)


def test_a_mailbox_in_any_order_with_its_cover_letter(xen, out: Path, scratch: Path, tmp_path: Path) -> None:
    paths = xen.mails(out, "--cover-letter", "--thread", "-v2")
    box = tmp_path / "box"
    box.write_bytes(b"".join(paths[n].read_bytes() for n in (2, 0, 3, 1)))
    series = chosen(box, scratch)
    assert numbers(series) == WHOLE
    assert (series.title, series.version) == ("*** SUBJECT HERE ***", "v2")
    assert series.message_id == series.cover.message_id != ""
    assert not series.left_out and not series.notes


def test_patches_without_numbers_are_in_order_of_file(xen, out: Path, scratch: Path) -> None:
    xen.mails(out, "-N")
    assert numbers(chosen(out, scratch)) == WHOLE


def test_the_newest_whole_version_is_taken(xen, out: Path, scratch: Path) -> None:
    for version in ("1", "3", "2"):
        xen.mails(out, f"-v{version}")
    (out / "v3-0002-xen-evtchn-second.patch").unlink()
    series = chosen(out, scratch)
    assert (series.version, numbers(series)) == ("v2", WHOLE)
    assert [(one.what, one.why) for one in series.left_out] == [
        ("v1 (3 patches)", "an older version"),
        ("v3 (2 patches)", "patch 2 of 3 missing"),
    ]


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_missing_patch_is_an_error(xen, out: Path, scratch: Path, gone: int) -> None:
    xen.mails(out)[gone - 1].unlink()
    with pytest.raises(UserError, match=f"patch {gone} of 3 missing"):
        chosen(out, scratch)


def test_a_missing_patch_without_a_number_is_told_by_the_cover_letter(xen, out, scratch) -> None:
    xen.mails(out, "-N", "--cover-letter")
    cover = out / "0000-cover-letter.patch"
    cover.write_text(cover.read_text().replace("[PATCH]", "[PATCH 0/4]"))
    with pytest.raises(UserError, match="announces 4 patches, and 3 are there"):
        chosen(out, scratch)
    cover.write_text(cover.read_text().replace("[PATCH 0/4]", "[PATCH 0/2]"))
    assert "announces 2 patches, and there are 3" in chosen(out, scratch).notes[0]


def test_two_series_in_one_file_are_an_error(xen, linux, out, scratch, tmp_path) -> None:
    """With equal numbers, with complementary ones, and with none."""
    one = xen.mails(out)
    xen.commit(11, "eleven", "xen/evtchn: fourth")
    xen.commit(12, "twelve", "xen/evtchn: fifth")
    two = xen.mails(tmp_path / "two", count=2)
    both = tmp_path / "both"
    for paths, says in (
        ([*one, *two], "two series"),  # 1/3 to 3/3, and 1/2 to 2/2
        ([*one, one[0]], ""),  # a copy is none
    ):
        both.write_bytes(b"".join(path.read_bytes() for path in paths))
        if says:
            with pytest.raises(UserError, match=says):
                chosen(both, scratch)
        else:
            assert [one.why for one in chosen(both, scratch).left_out] == ["as both, mail 1"]
    threads = [*xen.mails(tmp_path / "thread", "--thread", "--cover-letter")[:3]]
    stranger = linux.mails(tmp_path / "linux", "--thread", "--cover-letter", count=1)[1]
    both.write_bytes(
        b"".join(path.read_bytes() for path in threads)
        + stranger.read_text().replace("[PATCH 1/1]", "[PATCH 3/3]").encode()
    )
    with pytest.raises(UserError, match="two series"):
        chosen(both, scratch)


def test_versions_with_nothing_in_common_are_two_series(xen, linux, out, scratch) -> None:
    xen.mails(out)
    linux.mails(out, "-v2", count=1)
    with pytest.raises(UserError, match="two series"):
        chosen(out, scratch)


def test_a_number_twice_with_two_contents(xen, out, scratch, tmp_path) -> None:
    paths = xen.mails(out)
    text = paths[1].read_text().replace("+twenty", "+other")
    (out / "0002-resent.patch").write_text(text)
    with pytest.raises(UserError, match=r"patch 2/3 is in .* twice, and the two differ"):
        chosen(out, scratch)


def test_single_patches_of_no_thread_are_two_series(xen, out, scratch, tmp_path) -> None:
    first = xen.mails(out, "-N", "--thread", count=1)[0]
    second = xen.mails(tmp_path / "two", "-N", "--thread", count=2)[0]
    box = tmp_path / "box"
    box.write_bytes(first.read_bytes() + second.read_bytes().replace(b"Message-Id: <", b"Message-Id: <other"))
    with pytest.raises(UserError, match="two series"):
        chosen(box, scratch)


def test_a_number_beyond_the_total(xen, out, scratch) -> None:
    path = xen.mails(out)[2]
    path.write_text(path.read_text().replace("[PATCH 3/3]", "[PATCH 4/3]"))
    with pytest.raises(UserError, match="is beyond its own total"):
        chosen(out, scratch)


def test_a_patch_whose_mail_lost_its_diff(xen, out, scratch) -> None:
    path = xen.mails(out)[1]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:6], *(f"> {line}" for line in lines[6:])]))
    with pytest.raises(UserError, match=r"2/3.* holds no patch"):
        chosen(out, scratch)


def test_replies_are_left_out_by_name(xen, out, scratch, tmp_path) -> None:
    paths = xen.mails(out, "--thread")
    ids = [line for line in paths[0].read_text().splitlines() if line.startswith("Message-I")]
    head = "From r@example.org Mon Jan  5 10:00:00 2026\nFrom: r@example.org\nMessage-ID: <r@x>\n"
    reply = head + f"In-Reply-To: {ids[0].partition(': ')[2]}\nSubject: Re: [PATCH 1/3] it\n\nLooks good.\n\n"
    follow = (tmp_path / "out2", "-N", "--thread")
    xen.commit(9, "nine", "xen/evtchn: on top")
    text = xen.mails(*follow, count=1)[0].read_text()
    text = text.replace("\nSubject:", f"\nIn-Reply-To: {ids[0].partition(': ')[2]}\nSubject:", 1)
    box = tmp_path / "box"
    box.write_text("".join(path.read_text() for path in paths) + reply + text)
    series = chosen(box, scratch)
    assert numbers(series) == WHOLE
    assert [one.why for one in series.left_out] == [
        "a reply", "sent in reply to the series, and no part of it",
    ]  # fmt: skip


def test_a_mailbox_without_a_patch(tmp_path, scratch) -> None:
    box = tmp_path / "box"
    box.write_text("From: a@example.org\nSubject: hello\n\nHello.\n")
    with pytest.raises(UserError, match=r"no mail in .* holds a patch"):
        chosen(box, scratch)


def test_base_commit_is_read(xen, out, scratch) -> None:
    xen.mails(out, f"--base={xen.base}")
    assert chosen(out, scratch).trailers == {"base-commit": xen.base}
