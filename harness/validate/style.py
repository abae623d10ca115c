# SPDX-License-Identifier: GPL-2.0-or-later
"""Remarks on a patch's form. None of them is ever an error of the series."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.core import process
from harness.core.errors import EvhError
from harness.source.series import IDENTITY, git
from harness.validate.patches import Patch
from harness.validate.sandbox import Sandbox
from harness.validate.worktree import Applied, WorkTree

_FIXES = re.compile(r"^Fixes:\s*([0-9a-fA-F]+)\s*(?:\(\"(.*)\"\))?\s*$", re.MULTILINE)
_SIGNED = re.compile(r"^Signed-off-by:\s*(.+?)\s*$", re.MULTILINE)
# Linux's Documentation/process/submitting-patches.rst and Xen's docs/process/sending-patches.pandoc.
ID_DIGITS = 12
CHECKPATCH = "scripts/checkpatch.pl"


def remarks(
    tree: WorkTree, patch: Patch, applied: Applied, *, history: bool, confined: bool = True
) -> list[str]:
    """What a reviewer would say of the patch's form.

    Args:
        history: the tree has the commits that led to its base, so that one can be looked up.
        confined: run the tree's checkpatch.pl in the sandbox.
    """
    return [
        *_whitespace(tree.path, applied),
        *_fixes(tree.path, patch, history=history),
        *_signed(patch),
        *_checkpatch(tree, applied, confined=confined),
    ]


def _whitespace(path: Path, applied: Applied) -> Iterator[str]:
    said, _ = _said("git", "-C", path, "diff", "--check", f"{applied.commit}~", applied.commit)
    for file, line, what in re.findall(r"^(\S+):(\d+): (.+?)\.?$", said, re.MULTILINE):
        yield f"{file}:{line}: {what}"


def _said(*command: str | Path) -> tuple[str, str]:
    """All output of a program that fails if it has something to say, and how it failed."""
    lines: list[str] = []
    try:
        process.run(command, what=f"run {command[0]}", env=IDENTITY, on_line=lines.append)
    except EvhError as error:
        return "".join(lines), error.message
    return "".join(lines), ""


def _fixes(path: Path, patch: Patch, *, history: bool) -> Iterator[str]:
    for id_, title in _FIXES.findall(patch.message):
        if len(id_) < ID_DIGITS:
            yield f"Fixes: {id_}: an id of {len(id_)} digits; {ID_DIGITS} are wanted"
        if not history:
            yield f"Fixes: {id_[:ID_DIGITS]}: not looked up, since the base has no history"
            continue
        try:
            subject = git(
                path, "log", "-1", "--format=%s", "--end-of-options", id_, what="look it up"
            ).strip()
        except EvhError:
            yield f"Fixes: {id_[:ID_DIGITS]}: the tree has no such commit"
            continue
        if title != subject:
            yield f"Fixes: {id_[:ID_DIGITS]}: that commit's subject is {subject!r}"


def _signed(patch: Patch) -> Iterator[str]:
    signed = _SIGNED.findall(patch.message)
    if not signed:
        yield "no Signed-off-by"
    elif patch.author not in signed:
        yield f"its author, {patch.author}, has not signed it off"


def _checkpatch(tree: WorkTree, applied: Applied, *, confined: bool) -> Iterator[str]:
    """What the tree's own checkpatch.pl says; sign-offs are looked at above, for both trees alike."""
    script = tree.path / CHECKPATCH
    if not script.exists():
        return
    mail = tree.objects / "checkpatch.patch"
    words = ["format-patch", "-1", "--stdout", applied.commit]
    mail.write_text(git(tree.path, *words, what="read the patch"), errors="surrogateescape")
    box = Sandbox(readable=(tree.path,), writable=(tree.objects,), confined=confined)
    options = ("--terse", "--no-summary", "--color=never", "--ignore=MISSING_SIGN_OFF,NO_AUTHOR_SIGN_OFF")
    command: list[str | Path] = ["perl", script, f"--root={tree.path}", *options, mail]
    said, failed = _said(*box.command(command, cwd=tree.path))
    found = re.findall(r"^.*?:(\d+): ((?:ERROR|WARNING|CHECK): .+)$", said, re.MULTILINE)
    if failed and not found:
        yield f"checkpatch: {failed.splitlines()[-1]}"
    for line, what in found:
        yield f"checkpatch: {what} (line {line} of the patch)"
