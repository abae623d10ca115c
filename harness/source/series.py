# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series, applied to pristine trees as commits on a detached HEAD.

    ROOT/trees/NAME-VERSION-SHA/    a git work tree; refs/evh/base is the pristine tarball

The tree is kept, since unpacking and committing Linux takes half a minute, but
switching to another series only a second or two. It may be used only while its
lock is held.
"""

from __future__ import annotations

import email
import email.policy
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.core import process
from harness.core.errors import EvhError, InfraError, UserError, reason_of
from harness.core.progress import Progress
from harness.core.records import Source, Tree
from harness.source.trees import content_of, content_of_files, git_dir, is_git, write_tree
from harness.store.artifacts import Store
from harness.store.files import MAKING, discard
from harness.store.hashes import digest, sha256_of

BASE_REF = "refs/evh/base"
# Fixed, so that the same tarball and series give the same commits everywhere.
IDENTITY = {
    "GIT_AUTHOR_NAME": "evtchn-harness",
    "GIT_AUTHOR_EMAIL": "evtchn-harness@localhost",
    "GIT_AUTHOR_DATE": "1735689600 +0000",
    "GIT_COMMITTER_NAME": "evtchn-harness",
    "GIT_COMMITTER_EMAIL": "evtchn-harness@localhost",
    "GIT_COMMITTER_DATE": "1735689600 +0000",
    # Ignore the user's hooks, signing keys, autocrlf and ignore files.
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}


def digest_of(source: Source, patches: Sequence[Path], *, content: str = "") -> str:
    """Hash of a tree's content: the pristine source and every patch, in order.

    Args:
        content: ``content_of`` a developer's tree at an earlier moment; empty: as it is now.
    """
    pristine = source.sha256 or content or (content_of(source.tree) if source.tree else "")
    return digest("\n".join([pristine, *(sha256_of(patch) for patch in patches)]))


def tree_path(store: Store, source: Source) -> Path:
    """Path of the work tree of a tarball, or of the copy of a developer's tree."""
    if source.tree is not None:
        return store.root / "trees" / f"{source.name}-own-{digest(str(source.tree))[:12]}"
    return store.root / "trees" / f"{source.name}-{source.version}-{source.sha256[:12]}"


@contextmanager
def prepared(
    source: Source, patches: Sequence[Path], *, store: Store, progress: Progress
) -> Iterator[Tree]:
    """The tree with ``patches`` applied, locked for the duration of the context.

    Objects of earlier builds (ignored files) are removed from it.

    Raises:
        UserError: a patch does not apply; the tree is then reset to its pristine state.
        InfraError: the tarball cannot be unpacked.
    """
    path = tree_path(store, source)
    if source.tree is not None and patches:
        # Its own copy, so that changing between the two does not build everything again.
        path = path.with_name(f"{path.name}-series")
    with store.lock(f"tree-{path.name}", what=f"{path.name}: in use by another run", say=progress.say):
        content = ""
        if source.tree is not None:
            with progress.step(f"copy {source.tree}"):
                content = export(source.tree, path)
            if patches:
                commit_copy(source.tree, path, content, f"{source.name} {source.version}")
                apply(path, patches, progress)
        else:
            unpack(source, path, progress)
            apply(path, patches, progress)
        yield Tree(
            source=source,
            path=path,
            series=tuple(subjects(path)) if patches else (),
            digest=digest_of(source, patches, content=content),
            pristine=digest_of(source, (), content=content),
        )


def unpack_early(source: Source, *, store: Store, progress: Progress) -> None:
    """Unpack a tarball before :func:`prepared` needs it; does nothing for a developer's tree."""
    path = tree_path(store, source)
    if source.tree is None:
        with store.lock(f"tree-{path.name}", what=f"{path.name}: in use by another run", say=progress.say):
            unpack(source, path, progress)


def subjects(path: Path) -> list[str]:
    """The subjects of the applied patches, in order."""
    log = git(path, "log", "--reverse", "--format=%s", f"{BASE_REF}..HEAD", what="list the series")
    return log.splitlines()


def git(path: Path, *args: str | Path, what: str) -> str:
    """Run git in ``path``, with a fixed identity and without the user's configuration."""
    return process.run(["git", "-C", path, *args], what=what, env=IDENTITY)


def unpack(source: Source, path: Path, progress: Progress) -> None:
    """Unpack a tarball as a git tree at ``path``, completely or not at all."""
    if (path / ".git").is_dir():
        return
    assert source.tarball is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{MAKING}{path.name}-*"):
        discard(left)
    making = Path(tempfile.mkdtemp(prefix=f"{MAKING}{path.name}-", dir=path.parent))
    try:
        with progress.step(f"unpack {source.name} {source.version}") as step:
            process.run(
                ["tar", "-C", making, "--strip-components=1", "-xf", source.tarball],
                what=f"unpack {source.tarball.name}",
                hint="check the free disk space; `evh clean` frees some.",
            )
            step.update("commit")
            commit_pristine(making, f"{source.name} {source.version}")
        making.chmod(0o755)
        making.rename(path)
    finally:
        if making.exists():
            discard(making)


def commit_pristine(path: Path, title: str) -> None:
    """Make ``path`` a git repository whose detached HEAD and BASE_REF are its current content."""
    git(path, "init", "--quiet", what="make a git tree")
    for name, value in {
        # The repository can be recreated, so prefer speed to size and durability.
        "core.looseCompression": "1",
        "core.fsync": "none",
        "gc.auto": "0",
        "core.autocrlf": "false",
        "am.threeWay": "false",
    }.items():
        git(path, "config", name, value, what="configure a git tree")
    # --force: files that the tree's own .gitignore lists are part of the tarball too.
    git(path, "add", "--all", "--force", ".", what="record the pristine tree")
    git(path, "commit", "--quiet", "--no-verify", "-m", title, what="record the pristine tree")
    git(path, "update-ref", BASE_REF, "HEAD", what="record the pristine tree")
    git(path, "checkout", "--quiet", "--detach", BASE_REF, what="record the pristine tree")


def reset(path: Path) -> None:
    """Reset to the pristine tree, whatever state a killed run left it in."""
    # Our lock is held, so the process that left git's lock files is dead.
    (path / ".git/index.lock").unlink(missing_ok=True)
    (path / ".git/HEAD.lock").unlink(missing_ok=True)
    shutil.rmtree(path / ".git/rebase-apply", ignore_errors=True)
    git(path, "checkout", "--quiet", "--force", "--detach", BASE_REF, what="reset the tree")
    git(path, "clean", "-ffdxq", what="clean the tree")


def apply(path: Path, patches: Sequence[Path], progress: Progress) -> None:
    """Apply the patches in order to the pristine tree with ``git am``.

    Raises:
        UserError: a patch does not apply; the message names it and the file.
    """
    reset(path)
    if not patches:
        return
    with progress.step(f"apply {len(patches)} patches") as step:
        for patch in patches:
            step.update(patch.name)
            try:
                note = apply_file(path, patch)
            except EvhError as error:
                reset(path)
                raise error if isinstance(error, UserError) else misfit(patch, error.message) from error
            if note:
                progress.say(note)


def apply_file(path: Path, patch: Path) -> str:
    """Apply every patch in one file, which may be a mailbox with several mails.

    Returns:
        What was passed over or changed, for the user; empty if nothing was.

    Raises:
        UserError: no mail in it holds a patch. InfraError: git refuses it.
    """
    what = f"apply {patch.name}"
    try:
        data = patch.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the patch {patch}: {reason_of(error)}", hint="was it removed meanwhile?"
        ) from error
    # A mail that was saved with CRLF line ends; a tree's own files with such lines are told by the others.
    mailed = data.count(b"\n") == data.count(b"\r\n") > 0
    before = git(path, "rev-parse", "HEAD", what=what).strip()
    line_ends = "--no-keep-cr" if mailed else "--keep-cr"
    words: list[str | Path] = ["am", "--quiet", "--no-3way", line_ends, "--empty=drop", patch]
    while words:
        try:
            git(path, *words, what=what)
            words = []
        except InfraError:
            # git takes what follows a cover letter's "---" for a patch, and stops there.
            stopped = (path / ".git/rebase-apply").is_dir()
            if not stopped or _HUNK.search(git(path, "am", "--show-current-patch=diff", what=what)):
                raise
            words = ["am", "--quiet", "--skip"]
    applied = int(git(path, "rev-list", "--count", f"{before}..HEAD", what=what))
    if not applied:
        raise misfit(patch, "Patch is empty")
    with tempfile.TemporaryDirectory(prefix="mails-") as folder:
        mails = int(git(path, "mailsplit", f"-o{folder}", "--", patch.resolve(), what=what))
        refuse_damaged(patch, [mail.read_bytes() for mail in sorted(Path(folder).iterdir())])
    said = []
    if mails > applied:
        said.append(f"{mails - applied} of its {mails} mails hold no patch (a cover letter?)")
    if mailed:
        said.append("its CRLF line ends were taken for the mail program's")
    return f"{patch.name}: {'; '.join(said)}" if said else ""


_NUMBER = re.compile(r"^\s*\[[^\]]*?(\d+)/\d+[^\]]*\]")


def refuse_damaged(patch: Path, mails: Sequence[bytes]) -> None:
    """Refuse a numbered patch whose mail holds no diff: it is not a cover letter, but cut or reformatted.

    Raises:
        UserError: there is one; the message names it.
    """
    for mail in mails:
        message = email.message_from_bytes(mail, policy=email.policy.default)
        number = _NUMBER.match(str(message["Subject"] or ""))
        bodies = [part.get_payload(decode=True) or b"" for part in message.walk() if not part.is_multipart()]
        if number and int(number[1]) and not any(_HUNK.search(_text(body)) for body in bodies):
            raise UserError(
                f"the mail {message['Subject']!r} in {patch} holds no patch",
                hint="a mail program may have quoted or reformatted it: save it as it was sent.",
            )


def _text(body: object) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)


# What each patch has and no cover letter.
_HUNK = re.compile(r"^(?:diff --git |--- \S|@@ -)", re.MULTILINE)


def misfit(patch: Path, said: str) -> UserError:
    """The error for a patch that ``git am`` refused, from its output."""
    places = re.findall(r"^error: patch failed: (\S+)$", said, re.MULTILINE)
    places += re.findall(r"^error: (\S+): (?:does not exist in index|already exists in \S+(?: \S+)?)$",
                         said, re.MULTILINE)
    if places:
        why = f"does not apply to {', '.join(dict.fromkeys(places))}"
    elif corrupt := re.search(r"corrupt patch at (?:line |\S+:)(\d+)", said):
        why = f"is corrupt at line {corrupt[1]}"
    elif "Patch is empty" in said or "format detection failed" in said:
        why = "does not contain a patch"
    else:
        why = f"was refused: {process.tail(said, 3)}"
    if crlf := patch.read_bytes().count(b"\r\n"):
        why += f"; {crlf} of its lines end in CRLF, which a mail program may have added"
    return UserError(
        f"the patch {patch} {why}",
        hint="rebase the series onto this version "
        f"(`git am {patch.name}`, in a tree with the preceding patches, shows the conflict), "
        "or build your own tree with --xen-tree or --linux-tree.",
    )


def commit_copy(tree: Path, path: Path, content: str, title: str) -> None:
    """Make the copy of a developer's tree the pristine tree that a series is applied to.

    Args:
        content: what :func:`export` of the tree returned.
    """
    if not is_git(tree):
        if not (path / ".git").is_dir():
            commit_pristine(path, title)
            return
        git(path, "add", "--all", "--force", ".", what="record the pristine tree")
        content = git(path, "write-tree", what="record the pristine tree").strip()
    commit = git(path, "commit-tree", content, "-m", title, what="record the pristine tree").strip()
    git(path, "update-ref", BASE_REF, commit, what="record the pristine tree")


def export(tree: Path, path: Path) -> str:
    """Update the copy at ``path`` to the current content of a developer's tree.

    Only changed files are written, so that make rebuilds only those. Ignored
    files are left out, so the tree may contain objects.

    Returns:
        ``content_of`` the copy.
    """
    path.mkdir(parents=True, exist_ok=True)
    if not is_git(tree):
        rsync = process.need("rsync", package="rsync")
        process.run(
            # An edit within a second of the last copy, of the same length, is one too.
            [rsync, "--archive", "--delete", "--modify-window=-1", "--exclude=/.git", f"{tree}/", f"{path}/"],
            what=f"copy {tree}",
        )
        return content_of_files(path)
    if not (path / ".git").is_dir():
        git(path, "init", "--quiet", what=f"copy {tree}")
    objects = path / ".git/objects"
    (objects / "info/alternates").write_text(f"{git_dir(tree) / 'objects'}\n")
    present = write_tree(tree, objects)
    (path / ".git/index.lock").unlink(missing_ok=True)
    try:
        git(path, "read-tree", "--reset", "-u", present, what=f"copy {tree}")
    except InfraError as error:
        if absent := absent_in(path, present):
            some = f"{len(absent)} of its files were never fetched, among them {absent[0]}"
            raise UserError(
                f"{tree} is not complete: {some}",
                hint=f"it is a sparse checkout of a partial clone; fetch them: "
                f"git -C {tree} sparse-checkout disable",
            ) from error
        raise
    git(path, "clean", "-ffdxq", what=f"copy {tree}")
    return present


def absent_in(path: Path, tree: str) -> list[str]:
    """The files of a tree whose content is in no object store of the repository at ``path``.

    Args:
        tree: git's hash of the tree.
    """
    walked = git(path, "rev-list", "--objects", "--missing=print", tree, what="look for the files")
    missing = {line[1:] for line in walked.splitlines() if line.startswith("?")}
    listed = git(path, "ls-tree", "-r", "--format=%(objectname) %(path)", tree, what="list the files")
    return [name for blob, name in (line.split(" ", 1) for line in listed.splitlines()) if blob in missing]
