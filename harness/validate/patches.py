# SPDX-License-Identifier: GPL-2.0-or-later
"""The patches of a series: what travels from reading it to judging it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from harness.validate.mails import LeftOut, Mail


@dataclass(frozen=True, kw_only=True)
class Change:
    """One file that a patch changes.

    Attributes:
        path: its name after the patch (before it, if the patch removes it); ``old``: before it.
        before, after: git's blob ids as far as the patch gives them; empty: the file is new, or removed,
            or the patch does not say.
    """

    path: str
    old: str
    before: str = ""
    after: str = ""


_FILE = re.compile(r"^diff --git (?:\"?a/(.+?)\"?) (?:\"?b/(.+?)\"?)\s*$", re.MULTILINE)
_INDEX = re.compile(r"^index ([0-9a-f]+)\.\.([0-9a-f]+)", re.MULTILINE)


def changes(diff: str) -> tuple[Change, ...]:
    """The files that a git diff changes, in its order, with their blob ids."""
    found = []
    starts = list(_FILE.finditer(diff))
    for one, following in zip(starts, [*starts[1:], None], strict=True):
        part = diff[one.end() : following.start() if following else len(diff)]
        head = re.split(r"^(?:@@ |GIT binary patch)", part, maxsplit=1, flags=re.MULTILINE)[0]
        index = _INDEX.search(head)
        before, after = (index[1], index[2]) if index else ("", "")
        found.append(
            Change(
                path=one[2],
                old=one[1],
                before="" if set(before) <= {"0"} else before,
                after="" if set(after) <= {"0"} else after,
            )
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One patch.

    Attributes:
        number: its place in the series, from 1.
        subject: without the prefix in brackets.
        message: the text above the diff.
        mail: where it was read from; None: it is a commit.
        commit: its id in the user's tree; empty: it is a mail.
    """

    number: int
    subject: str
    author: str
    message: str
    diff: str
    mail: Mail | None = None
    commit: str = ""

    @property
    def changes(self) -> tuple[Change, ...]:
        """The files that it changes."""
        return changes(self.diff)

    @property
    def where(self) -> str:
        """The file or commit that holds it, for messages."""
        return self.mail.where if self.mail else self.commit[:12]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A whole series.

    Attributes:
        source: what the user named.
        title: the cover letter's subject, else that of the only patch; may be empty.
        version: ``v2``; empty for the first.
        cover: the cover letter; None if there is none.
        left_out: what was found beside it, and why it is no part of it.
        notes: what git passed over or changed while it read the mails.
        tree, base, tip: for a range of a git tree: the tree, and the ids of both ends.
        folder: holds what was read, if that was a folder or a file in one.
    """

    source: str
    patches: tuple[Patch, ...]
    title: str = ""
    version: str = ""
    cover: Mail | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    tree: Path | None = None
    base: str = ""
    tip: str = ""
    folder: Path | None = None
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def message_id(self) -> str:
        """The id to reply to: the cover letter's, else the first patch's; empty if the mails have none."""
        first = self.patches[0].mail
        return (self.cover.message_id if self.cover else "") or (first.message_id if first else "")


# Folders and files at the top of each tree that the other one does not have. From Xen 4.20 and Linux 6.12.
_TOPS = {
    "xen": {
        "xen", "stubdom", "automation", "config", "m4", "docs", "CHANGELOG.md", "SUPPORT.md", "Config.mk",
        "CODING_STYLE", "configure.ac", "configure", "tools/libs", "tools/libxl", "tools/libxc", "tools/xl",
        "tools/xenstored", "tools/firmware", "tools/python", "tools/ocaml", "tools/golang", "tools/flask",
        "tools/misc", "tools/tests", "tools/xenpaging", "tools/xentrace", "tools/hotplug", "tools/helpers",
    },
    "linux": {
        "arch", "block", "certs", "crypto", "Documentation", "drivers", "fs", "include", "init", "io_uring",
        "ipc", "kernel", "lib", "mm", "net", "rust", "samples", "security", "sound", "usr", "virt", "Kbuild",
        "Kconfig", "tools/objtool", "tools/perf", "tools/testing", "tools/lib", "tools/arch", "tools/include",
    },
}  # fmt: skip


_IN_BOTH = {
    "tools", "scripts", "LICENSES", "README", "MAINTAINERS", "COPYING", "CREDITS", "Makefile", ".gitignore",
    ".gitattributes", ".mailmap",
}  # fmt: skip


def kinds_of(patches: tuple[Patch, ...]) -> set[str]:
    """Which trees the patches may be for, by the folders they touch: a subset of ``xen`` and ``linux``.

    Both: every folder is in both trees (scripts/, tools/, MAINTAINERS). None: the patches touch both trees,
    or folders of neither.
    """
    kinds, strange = set(_TOPS), False
    for patch in patches:
        for change in patch.changes:
            parts = change.path.split("/")
            tops = {parts[0], "/".join(parts[:2])}
            telling = {kind for kind, known in _TOPS.items() if known & tops}
            if telling:
                kinds &= telling
            strange |= not telling and parts[0] not in _IN_BOTH
    return set() if strange and kinds == set(_TOPS) else kinds
