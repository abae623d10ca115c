# SPDX-License-Identifier: GPL-2.0-or-later
"""A series that is a range of a git tree, ``PATH:BASE..TIP``: its commits, as they are."""

from __future__ import annotations

import re
from pathlib import Path

from harness.core.errors import EvhError, UserError
from harness.source.series import git
from harness.validate.patches import Patch, Series

_RANGE = re.compile(r"(?P<path>[^:]*):(?P<base>[^:]*[^:.])\.\.(?P<tip>[^:.][^:]*)?")
# An abbreviated blob id would be cut at another length in another tree.
DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--full-index", "--binary", "--find-renames")


def is_range(text: str) -> bool:
    """Whether what the user named looks like ``PATH:BASE..TIP``, and is no file."""
    return not Path(text).exists() and ".." in text.rpartition(":")[2] and ":" in text


def read_range(text: str, *, tree: Path | None = None) -> Series:
    """The commits of a range, oldest first.

    Args:
        text: ``PATH:BASE..TIP``; ``tree:BASE..TIP`` names the tree that an option gave.
        tree: that one.

    Raises:
        UserError: the path is no git tree, an end is no commit, BASE is no ancestor of TIP, there is no
            commit between them, or one is a merge.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UserError(f"{text} is no range", hint="A range of a git tree is PATH:BASE..TIP.")
    path = Path(match["path"] or ".").expanduser()
    if match["path"] == "tree" and not path.exists():
        if tree is None:
            raise UserError(
                f"{text}: no tree was given", hint="Name it: --xen TREE or --linux TREE, or PATH:BASE..TIP."
            )
        path = tree
    base, tip = (commit_of(path, rev) for rev in (match["base"], match["tip"] or "HEAD"))
    fork = _ask(path, "merge-base", base, tip)
    if fork != base:
        near = f"They part at {fork[:12]}: {path}:{fork[:12]}..{match['tip']}." if fork else ""
        raise UserError(f"{text}: {match['base']} is no ancestor of {match['tip'] or 'HEAD'}", hint=near)
    commits = _ask(path, "rev-list", "--reverse", "--topo-order", f"{base}..{tip}").split()
    if not commits:
        raise UserError(f"{text}: there is no commit in this range", hint="Are the ends the right way round?")
    if merges := _ask(path, "rev-list", "--merges", f"{base}..{tip}").split():
        raise UserError(
            f"{text}: {len(merges)} of its {len(commits)} commits are merges, the newest is {merges[0][:12]}",
            hint="A series is a line of commits: rebase it, or name a range without merges.",
        )
    return Series(
        source=text,
        patches=tuple(_patch(path, commit, number) for number, commit in enumerate(commits, 1)),
        title=_ask(path, "log", "-1", "--format=%s", tip) if len(commits) == 1 else "",
        tree=path.resolve(), base=base, tip=tip,
    )  # fmt: skip


def _patch(path: Path, commit: str, number: int) -> Patch:
    said = git(path, "log", "-1", "--format=%s%n%an <%ae>%n%b", commit, what=f"read {commit[:12]}")
    subject, author, message = said.split("\n", 2)
    diff = git(path, "show", "--format=", *DIFF, commit, what=f"read {commit[:12]}")
    return Patch(number=number, subject=subject, author=author, message=message, diff=diff, commit=commit)


def commit_of(path: Path, rev: str) -> str:
    """The full id of a commit.

    Raises:
        UserError: the path is no git tree, or has no such commit.
    """
    if not path.is_dir():
        raise UserError(f"there is no tree {path}", hint="A range of a git tree is PATH:BASE..TIP.")
    try:
        git(path, "rev-parse", "--git-dir", what=f"look at {path}")
    except EvhError as error:
        # It may be one that git refuses to read, since somebody else owns it.
        why = "; ".join(line for line in error.message.splitlines()[1:] if line.startswith("fatal:"))
        raise UserError(
            f"{path} is not a git tree that can be read: {why}", hint="Name the top folder of a clone."
        ) from error
    try:
        return git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}",
                   what=f"look up {rev}").strip()  # fmt: skip
    except EvhError as error:
        hint = "`git -C PATH log --oneline` lists them."
        raise UserError(f"{path} has no commit {rev}", hint=hint) from error


def _ask(path: Path, *words: str) -> str:
    try:
        return git(path, *words, what=f"ask git about {path}").strip("\n")
    except EvhError:
        if words[0] == "merge-base":
            return ""  # no common ancestor
        raise
