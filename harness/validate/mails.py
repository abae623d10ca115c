# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails of patch series, split and decoded by git itself (``git mailsplit``, ``git mailinfo``).

git does the decoding because ``git am`` will: what it cannot read, nobody could apply.
"""

from __future__ import annotations

import email
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError, reason_of
from harness.source.bases import PATCH_SUFFIXES
from harness.source.series import IDENTITY

# Editors and patch(1) leave these beside a patch; each looks like one.
LEFTOVERS = ("~", ".orig", ".rej", ".bak", ".swp", ".old")
# b4 am writes one beside its mailbox.
COVER_SUFFIXES = (".cover",)


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail, as git reads it.

    Attributes:
        file: the file of the user's that holds it, and ``place``, its number in there, from 1.
        path: the mail alone, as ``git mailsplit`` wrote it.
        subject: whole, with "Re:" and what is in brackets.
        author: ``Name <address>``, from the body if the body begins with a From: line.
        message: the text above the diff; ``diff``: the diff and what follows, or empty.
        message_id, references: with their angle brackets; the latter include In-Reply-To.
        flowed: it was sent as format=flowed, which may damage patches.
        quoted_cr: the lines inside its encoding end in CRLF, and git is told to strip that.
        notes: what git passed over or changed, for the user.
    """

    file: Path
    place: int
    path: Path
    subject: str
    author: str
    message: str
    diff: str
    message_id: str = ""
    references: tuple[str, ...] = ()
    flowed: bool = False
    quoted_cr: bool = False
    notes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The file, and the mail's number if the file is not its own."""
        return f"{self.file.name}, mail {self.place}" if self.place else self.file.name

    @property
    def text(self) -> str:
        """The whole body."""
        return f"{self.message}\n{self.diff}"

    @property
    def written_by_git(self) -> bool:
        """Whether the file is `git format-patch`'s, which puts a fixed date there, and no mail program's."""
        with self.path.open("rb") as mail:
            return mail.readline().rstrip().endswith(b"Mon Sep 17 00:00:00 2001")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file, or a mail, that is not part of the series that was read, and why."""

    what: str
    why: str


def read(where: Path, scratch: Path) -> tuple[list[Mail], list[LeftOut]]:
    """Read a folder of patches, a mailbox (mbox or Maildir, also gzipped) or a single patch.

    Args:
        scratch: an empty folder for the mails that git splits off.

    Returns:
        The mails, in the order of files and of their places in them, and the files that were left out.

    Raises:
        UserError: there is nothing there, it cannot be read, or it holds no mail.
    """
    if not where.exists():
        raise UserError(
            f"there is no series at {where}",
            hint="Name a folder of patches, a mailbox, or a range of a git tree: PATH:BASE..TIP.",
        )
    if where.is_file() or is_maildir(where):
        mails = list(_in_file(where, scratch))
        # b4 am leaves the cover letter beside the mailbox.
        cover = where.with_suffix(COVER_SUFFIXES[0])
        if where.is_file() and cover != where and cover.is_file():
            mails = [*_in_file(cover, scratch), *mails]
        if not any(mail.subject for mail in mails):
            raise UserError(
                f"{where} holds no mail",
                hint="Save the series as a mailbox, or with `git format-patch`; a bare diff has no author.",
            )
        return mails, []
    files, left_out = files_of(where)
    if not files:
        raise UserError(
            f"the folder {where} holds no patch",
            hint=f"Patches are files named {', '.join(f'*{suffix}' for suffix in PATCH_SUFFIXES)}.",
        )
    found: list[Mail] = []
    for file in files:
        mails = list(_in_file(file, scratch))
        if any(mail.subject for mail in mails):
            found += mails
        elif file.suffix in PATCH_SUFFIXES:
            raise UserError(
                f"{file} holds no mail", hint="`git format-patch` writes patches with author and subject."
            )
    return found, left_out


def is_maildir(folder: Path) -> bool:
    """Whether a mail program keeps its mails in this folder, one file each."""
    return (folder / "cur").is_dir() and (folder / "new").is_dir()


def files_of(folder: Path) -> tuple[list[Path], list[LeftOut]]:
    """The files of a folder that hold mails, in order of name, and the others, each with the reason."""
    files: list[Path] = []
    left_out: list[LeftOut] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            left_out.append(LeftOut(what=f"{path.name}/", why="a folder"))
        elif path.name.endswith(LEFTOVERS):
            left_out.append(LeftOut(what=path.name, why="left by an editor or by patch(1)"))
        elif path.suffix in (*PATCH_SUFFIXES, *COVER_SUFFIXES) or looks_like_mail(path):
            files.append(path)
        else:
            left_out.append(LeftOut(what=path.name, why="neither named like a patch nor a mail"))
    # A cover letter that b4 wrote is in the mailbox beside it, too, if that is not of patches alone.
    return files, left_out


def looks_like_mail(path: Path) -> bool:
    """Whether a file begins with headers, one of which is a subject."""
    head = re.split(rb"\r?\n\r?\n", contents(path)[:65536])[0]
    return head.startswith(b"From ") or re.search(rb"^Subject: ", head, re.MULTILINE) is not None


def contents(path: Path) -> bytes:
    """A file's bytes, unpacked if it is gzipped, as the mailboxes of a list's archive are.

    Raises:
        UserError: it cannot be read.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}", hint="Is it there, and whole?") from error


def _in_file(file: Path, scratch: Path) -> Iterator[Mail]:
    """The mails in one file, or in a Maildir."""
    folder = scratch / f"{len(list(scratch.iterdir())):04}"
    folder.mkdir()
    box, mailed = file, False
    if file.is_file():
        data = contents(file)
        if not data.strip():
            return
        # A mail that was saved with CRLF; a tree's own files with such lines are told by the others.
        mailed = data.count(b"\n") == data.count(b"\r\n") > 0
        box = folder / "box"
        box.write_bytes(data)
    split = folder / "mails"
    split.mkdir()
    keep = () if mailed else ("--keep-cr",)
    process.run(
        ["git", "mailsplit", "-b", *keep, f"-o{split}", box.resolve()],
        what=f"split {file} into mails", env=IDENTITY, error=UserError,
        hint="Save the series again, as a mailbox.",
    )  # fmt: skip
    mails = sorted(split.iterdir())
    for number, path in enumerate(mails, 1):
        notes = ("CRLF line ends, taken for the mail program's",) if mailed else ()
        yield _mail(file, number if len(mails) > 1 or file.is_dir() else 0, path, notes)


def _mail(file: Path, place: int, path: Path, notes: tuple[str, ...]) -> Mail:
    said, message, diff = mailinfo(path, "--quoted-cr=nowarn")
    whole = mailinfo(path, "--quoted-cr=nowarn", scissors=False)[1]
    lines = diff.splitlines(keepends=True)
    quoted_cr = bool(lines) and all(line.endswith("\r\n") for line in lines)
    if quoted_cr:
        said, message, diff = mailinfo(path, "--quoted-cr=strip")
        notes += ("CRLF line ends inside its encoding, taken for the mail program's",)
    if len(whole) > len(message):
        notes += ("what is above its scissors line was left out",)
    headers = email.message_from_bytes(path.read_bytes())
    flowed = any(str(part.get_param("format", "")).lower() == "flowed" for part in headers.walk())
    name, address = said.get("Author", ""), said.get("Email", "")
    return Mail(
        file=file, place=place, path=path, subject=said.get("Subject", ""),
        author=f"{name} <{address}>" if address else name,
        message=message, diff=diff, message_id=header(headers, "Message-ID"),
        references=tuple(re.findall(r"<[^<>\s]+>", "".join(
            header(headers, name) for name in ("References", "In-Reply-To")))),
        flowed=flowed, quoted_cr=quoted_cr, notes=notes,
    )  # fmt: skip


def header(message: Message, name: str) -> str:
    """A header's text; empty if there is none."""
    return str(message.get(name, "")).strip()


def mailinfo(mail: Path, *options: str, scissors: bool = True) -> tuple[dict[str, str], str, str]:
    """What `git mailinfo` reads: headers by name (Author, Email, Subject, Date), message and diff.

    Raises:
        UserError: git cannot read it.
    """
    message, diff = mail.with_name(f".{mail.name}.msg"), mail.with_name(f".{mail.name}.diff")
    cut = "--scissors" if scissors else "--no-scissors"
    said = process.run(
        ["sh", "-c", 'mail=$1; shift; exec git mailinfo -k "$@" <"$mail"', "sh", mail, cut, *options,
         message, diff],
        what=f"read the mail {mail.name}", env=IDENTITY, error=UserError,
        hint="Save it as it was sent, for example with `b4 am`.",
    )  # fmt: skip
    headers = dict(line.split(": ", 1) for line in said.splitlines() if re.match(r"[A-Z][a-z]+: ", line))
    # Not read_text(), which would take CRLF for LF.
    texts = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (message, diff)]
    return headers, texts[0], texts[1]


def all_ids(mails: Sequence[Mail]) -> set[str]:
    """Every message id that a mail has or refers to."""
    return {one for mail in mails for one in (mail.message_id, *mail.references) if one}
