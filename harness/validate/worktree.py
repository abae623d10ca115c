# SPDX-License-Identifier: GPL-2.0-or-later
"""The work tree in which a series is applied and built, one for each tree that has its base.

    ROOT/validate/KIND-HASH/           a git tree that borrows the objects of the tree that has the base
    ROOT/validate/KIND-HASH.objects/   what was built last

It is kept, so that make compiles only what changes from patch to patch.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.core.environment import environment
from harness.core.errors import EvhError, UserError
from harness.core.progress import Progress
from harness.source.series import IDENTITY, git
from harness.store.artifacts import Store
from harness.store.files import discard
from harness.store.hashes import digest, sha256_of
from harness.validate.base import Found
from harness.validate.mails import Mail, mailinfo
from harness.validate.patches import Patch, Series


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A patch as a commit of the work tree.

    Attributes:
        tree: git's id of the whole content, which is the same wherever the same patches are applied.
        notes: how the result differs from what its author had.
    """

    number: int
    commit: str
    tree: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A patch that does not apply.

    Attributes:
        reason: one line, with the file and the hunk.
        proof: the first hunk that does not apply.
        changed_by: the commit that last changed that place; empty: the tree has no such history.
    """

    number: int
    reason: str
    proof: str = ""
    changed_by: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkTree:
    """A work tree at the base; ``objects`` is the folder for what is built from it."""

    path: Path
    objects: Path
    base: Applied

    def checkout(self, commit: str) -> None:
        """Bring the files to a commit; the times of files that are the same stay."""
        git(self.path, "checkout", "--quiet", "--force", "--detach", commit, what=f"check out {commit[:12]}")
        git(self.path, "clean", "-ffdxq", what="clean the work tree")


@contextmanager
def work_tree(base: Found, *, store: Store, progress: Progress) -> Iterator[WorkTree]:
    """The work tree for a base, at that base, locked while the block runs.

    Raises:
        UserError: the tree that has the base cannot be read.
    """
    root = store.root / "validate"
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{base.kind}-{digest(str(base.repo))[:12]}"
    busy = f"{path.name}: another validation uses it"
    with store.lock(f"validate-{path.name}", what=busy, say=progress.say):
        if not _has(path, base.commit):
            # The first time, or the tree whose objects it borrows was removed and made again.
            discard(path)
            _make(base, path)
        for left in ("index.lock", "HEAD.lock"):
            (path / ".git" / left).unlink(missing_ok=True)
        shutil.rmtree(path / ".git/rebase-apply", ignore_errors=True)
        objects = path.with_name(f"{path.name}.objects")
        objects.mkdir(exist_ok=True)
        tree = WorkTree(
            path=path, objects=objects,
            base=Applied(number=0, commit=base.commit, tree=tree_of(path, base.commit)),
        )  # fmt: skip
        # Not a checkout of the base, which would give files new times for nothing.
        git(path, "clean", "-ffdxq", what="clean the work tree")
        yield tree


def _make(base: Found, path: Path) -> None:
    making = Path(tempfile.mkdtemp(prefix=f".make-{path.name}-", dir=path.parent))
    try:
        git(path.parent, "clone", "--quiet", "--shared", "--no-checkout", base.repo, making / "tree",
            what=f"make a work tree of {base.repo}")  # fmt: skip
        for name, value in (("core.autocrlf", "false"), ("gc.auto", "0"), ("am.threeWay", "false")):
            git(making / "tree", "config", name, value, what="configure the work tree")
        (making / "tree").rename(path)
    except EvhError as error:
        raise UserError(f"cannot use {base.repo}: {error.message}", hint="Is it a whole clone?") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _has(path: Path, commit: str) -> bool:
    """Whether there is a work tree that has a commit, whole."""
    if not (path / ".git").is_dir():
        return False
    try:
        git(path, "ls-tree", commit, what=f"look at {commit[:12]}")
    except EvhError:
        return False
    return True


def tree_of(path: Path, commit: str) -> str:
    """Git's id of a commit's content."""
    return git(path, "rev-parse", f"{commit}^{{tree}}", what=f"look at {commit[:12]}").strip()


def apply_series(tree: WorkTree, series: Series) -> Iterator[Applied | Misfit]:
    """Apply the patches in order; ends after the first one that does not apply.

    A series that was applied here before is not applied again: that would give its files new times, and make
    would take them for changed.
    """
    known = tree.path / ".git" / f"evh-applied-{_digest(tree.base.commit, series)}"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        yield from msgspec.json.decode(known.read_bytes(), type=list[Applied])
        return
    done = []
    for result in _apply(tree, series):
        yield result
        done.append(result)
    if all(isinstance(one, Applied) for one in done):
        known.write_bytes(msgspec.json.encode(done))


def _digest(base: str, series: Series) -> str:
    """Hash of what decides the result of applying a series."""
    parts = [base]
    for patch in series.patches:
        parts.append(sha256_of(patch.mail.path) if patch.mail else patch.commit)
    return digest("\n".join(parts))


def _apply(tree: WorkTree, series: Series) -> Iterator[Applied | Misfit]:
    tree.checkout(tree.base.commit)
    for patch in series.patches:
        if patch.commit:
            git(tree.path, "checkout", "--quiet", "--detach", patch.commit, what=f"check out {patch.where}")
            yield Applied(number=patch.number, commit=patch.commit, tree=tree_of(tree.path, patch.commit))
            continue
        assert patch.mail is not None
        try:
            notes = _am(tree.path, patch.mail)
        except EvhError as error:
            yield _misfit(tree.path, patch, error.message)
            return
        commit = git(tree.path, "rev-parse", "HEAD", what="look at the result").strip()
        yield Applied(
            number=patch.number, commit=commit, tree=tree_of(tree.path, commit),
            notes=(*notes, *_other_result(tree.path, patch)),
        )  # fmt: skip


def _am(path: Path, mail: Mail) -> tuple[str, ...]:
    """Apply one mail; returns what was done to it.

    Raises:
        EvhError: git refuses it; the tree is as before.
    """
    quoted = "--quoted-cr=strip" if mail.quoted_cr else "--quoted-cr=nowarn"
    # git mailsplit has seen to the line ends before, so those that are left are the patch's own.
    try:
        git(path, "am", "--quiet", "--no-3way", "--keep-cr", "--scissors", "--no-gpg-sign", quoted, mail.path,
            what=f"apply {mail.where}")  # fmt: skip
        return ()
    except EvhError:
        _abort(path)
        if not mail.flowed:
            raise
    return _apply_flowed(path, mail)


def _apply_flowed(path: Path, mail: Mail) -> tuple[str, ...]:
    """Apply a mail that only claims to be format=flowed, or in which that hides lines from git.

    git takes away the space that RFC 3676 puts before lines, and joins lines where one ends with a space,
    as every blank line of a hunk does. So the lines are tried as they stand, then without that space alone.
    """
    plain = mail.path.with_name(f".{mail.path.name}.plain")
    plain.write_bytes(re.sub(rb"(?i);\s*format\s*=\s*\"?flowed\"?", b"", mail.path.read_bytes(), count=1))
    headers, message, diff = mailinfo(plain, "--quoted-cr=strip")
    unstuffed = "".join(line.removeprefix(" ") for line in diff.splitlines(keepends=True))
    patch = path / ".git/flowed.diff"
    for text, note in (
        (diff, "sent as format=flowed, and taken as it stands"),
        (unstuffed, "sent as format=flowed: the space before lines was taken away, and none were joined"),
    ):
        patch.write_text(text, errors="surrogateescape")
        with contextlib.suppress(EvhError):
            git(path, "apply", "--index", patch, what=f"apply {mail.where}")
            subject = re.sub(r"^(?:\s*\[[^\]]*\])+\s*", "", headers.get("Subject", ""))
            whole = f"{subject}\n\n{message}"
            words = ["commit", "--quiet", "--no-verify", "-m", whole, f"--author={mail.author}"]
            git(path, *words, what=f"apply {mail.where}")
            return (note,)
    raise UserError("sent as format=flowed, which damaged it", hint="Ask for it by `git send-email`.")


def _abort(path: Path) -> None:
    if (path / ".git/rebase-apply").is_dir():
        git(path, "am", "--abort", what="undo a patch that does not apply")


def _other_result(path: Path, patch: Patch) -> list[str]:
    """Files whose content is not what the patch's author had, although the patch began from the same one."""
    wrong = []
    for change in patch.changes:
        if not change.after:
            continue
        same_start = not change.before or _blob(path, f"HEAD~1:{change.old}").startswith(change.before)
        if same_start and not _blob(path, f"HEAD:{change.path}").startswith(change.after):
            wrong.append(
                f"{change.path}: the result is not what its author had ({change.after[:12]}): "
                "the patch was edited, or a mail program changed it"
            )
    return wrong


def _blob(path: Path, name: str) -> str:
    return git(path, "rev-parse", "--verify", "--quiet", name, what=f"look at {name}").strip()


def _misfit(path: Path, patch: Patch, said: str) -> Misfit:
    """What does not apply: asked of `git apply --reject`, which tries each hunk by itself."""
    whole = path / ".git/misfit.diff"
    whole.write_text(patch.diff, errors="surrogateescape")
    said = _rejections(path, whole) + said
    proof, place = _first_reject(path)
    git(path, "checkout", "--quiet", "--force", "HEAD", what="undo a patch that does not apply")
    git(path, "clean", "-ffdxq", what="undo a patch that does not apply")
    failed = re.search(r"^error: patch failed: (\S+):(\d+)$", said, re.MULTILINE)
    hunk = re.search(r"^Rejected hunk #(\d+)", said, re.MULTILINE)
    why = "No such file or directory|does not exist in index|already exists in"
    absent = re.search(rf"^error: (\S+): ({why})", said, re.MULTILINE)
    corrupt = re.search(r"corrupt patch at (?:line |\S+:)(\d+)", said)
    if place and failed:
        reason = f"hunk {hunk[1] if hunk else '?'} of {place[0]} (line {place[1]}) does not apply"
    elif failed:
        reason = f"{failed[1]}, line {failed[2]}, does not apply"
    elif absent:
        reason = f"{absent[1]}: {absent[2].removesuffix(' in')}"
    elif corrupt:
        reason = f"the mail is damaged: corrupt at line {corrupt[1]} of its diff"
    else:
        reason = said.splitlines()[-1] if said else "git refuses it"
    if patch.mail and patch.mail.flowed:
        reason += "; it was sent as format=flowed, which damages patches"
    history = _last_change(path, *place) if place else ""
    return Misfit(number=patch.number, reason=reason, proof=proof, changed_by=history)


def _rejections(path: Path, diff: Path) -> str:
    """What `git apply --reject` says, whole; the tree has its result."""
    # Not git(), whose error holds only the end of what git says.
    done = subprocess.run(
        ["git", "-C", str(path), "apply", "--reject", "--verbose", str(diff)],
        capture_output=True, text=True, env=environment(IDENTITY), check=False,
    )  # fmt: skip
    return done.stderr


def _first_reject(path: Path) -> tuple[str, tuple[str, int, int] | None]:
    """The first rejected hunk, and its file, line and number of lines."""
    for reject in sorted(path.rglob("*.rej")):
        text = reject.read_text(errors="replace")
        start = text.find("@@ -")
        if match := re.match(r"@@ -(\d+)(?:,(\d+))?", text[start:]):
            end = text.find("\n@@ -", start + 1)
            hunk = text[start : end if end > 0 else None].strip("\n")
            file = reject.relative_to(path).with_suffix("").as_posix()
            return hunk, (file, int(match[1]), int(match[2] or 1))
    return "", None


def _last_change(path: Path, file: str, line: int, count: int) -> str:
    """The commit that last changed some lines of a file; empty if that is where all history begins."""
    try:
        said = git(path, "log", "-1", "-s", "--format=%h %s%x00%P", f"-L{line},+{count}:{file}", what="ask")
    except EvhError:  # the file is shorter, or not there
        return ""
    commit, _, parents = said.strip().partition("\0")
    return commit if parents else ""
