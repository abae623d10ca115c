# SPDX-License-Identifier: GPL-2.0-or-later
"""Developers' own source trees: their description and the hash of their content."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError
from harness.core.records import Source
from harness.store.hashes import sha256_of


def own_tree(name: str, path: Path) -> Source:
    """A developer's tree: a git work tree, with its uncommitted changes, or a plain directory.

    Args:
        name: ``xen`` or ``linux``.

    Raises:
        UserError: ``path`` does not exist or is not such a tree.
    """
    path = path.expanduser().resolve()
    mark = {"xen": "xen/common/event_channel.c", "linux": "drivers/xen/events/events_base.c"}[name]
    if not (path / mark).is_file():
        raise UserError(
            f"{path} is not a {name} source tree: it has no {mark}",
            hint=f"name the top directory of the {name} tree.",
        )
    version, note = describe(path)
    return Source(name=name, version=version, origin=f"tree:{path}", tree=path, note=note)


def describe(path: Path) -> tuple[str, str]:
    """Version and note of a developer's tree: ``git describe`` and the number of uncommitted changes."""
    if not is_git(path):
        return "unknown", "not a git tree"
    head = process.run(
        ["git", "-C", path, "describe", "--always", "--tags", "--long"], what=f"describe {path}"
    ).strip()
    changed = process.run(["git", "-C", path, "status", "--porcelain"], what=f"inspect {path}").splitlines()
    note = f"{len(changed)} uncommitted changes" if changed else ""
    return head, note


def is_git(path: Path) -> bool:
    """Whether ``path`` is the top of a git work tree."""
    return (path / ".git").exists()


def content_of(path: Path) -> str:
    """Hash of a developer's tree: git's tree hash of the current work tree, or a hash of all files.

    In a git tree, ignored files are left out, and the index and object store are not modified.
    """
    if is_git(path):
        return write_tree(path)
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path)}\0{sha256_of(file)}\n".encode())
    return total.hexdigest()


def git_dir(path: Path) -> Path:
    """The directory that holds the objects of the git work tree at ``path``."""
    common = process.run(
        ["git", "-C", path, "rev-parse", "--path-format=absolute", "--git-common-dir"],
        what=f"find the git directory of {path}",
    )
    return Path(common.strip())


def write_tree(path: Path, objects: Path | None = None) -> str:
    """Git's tree hash of the current content of the work tree.

    Args:
        objects: directory for objects that the repository lacks; if None they are discarded.
    """
    with tempfile.TemporaryDirectory(prefix="evh-index-") as name:
        scratch = Path(name)
        index = scratch / "index"
        own = Path(
            process.run(
                ["git", "-C", path, "rev-parse", "--path-format=absolute", "--git-path", "index"],
                what=f"find the index of {path}",
            ).strip()
        )
        if own.exists():
            # The index has cached stat data, so that only changed files are read again.
            shutil.copy2(own, index)
        new = objects or scratch / "objects"
        new.mkdir(parents=True, exist_ok=True)
        env = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(new),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(git_dir(path) / "objects"),
        }
        process.run(["git", "-C", path, "add", "--all", "."], what=f"hash {path}", env=env)
        return process.run(["git", "-C", path, "write-tree"], what=f"hash {path}", env=env).strip()

