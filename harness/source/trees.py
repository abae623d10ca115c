# SPDX-License-Identifier: GPL-2.0-or-later
"""Developers' own source trees: their description and the hash of their content."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError
from harness.core.records import Source
from harness.source.versions import version_in
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
    version = version_in(name, path)
    return Source(name=name, version=version, origin=f"tree:{path}", tree=path, note=describe(path))


def describe(path: Path) -> str:
    """What a developer's tree is: ``git describe``, and the number of uncommitted changes."""
    if not is_git(path):
        return "not a git tree"
    head = git(path, "describe", "--always", "--tags", "--long", what=f"describe {path}").strip()
    changed = git(path, "status", "--porcelain", what=f"inspect {path}").splitlines()
    said = [head, f"{len(changed)} uncommitted changes" if changed else ""]
    listed = git(path, "ls-files", "-t", what=f"inspect {path}").splitlines()
    if absent := sum(line.startswith("S ") for line in listed):
        said.append(f"sparse checkout: {absent} files that are not checked out are taken as committed")
    return ", ".join(filter(None, said))


def git(path: Path, *args: str | Path, what: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in a tree that may belong to another user, as a CI container's checkout does.

    git refuses such a tree, since its configuration names programs that git would run. Building the tree
    runs its Makefile, so who names it here trusts it; hooks and the file system monitor are off all the same.
    Nor does git write there to speed itself up, as `git status` otherwise does to the index.
    """
    safe = ["-c", f"safe.directory={path}", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    return process.run(["git", "--no-optional-locks", *safe, "-C", path, *args], what=what, env=env)


def is_git(path: Path) -> bool:
    """Whether ``path`` is the top of a git work tree."""
    return (path / ".git").exists()


def content_of(path: Path) -> str:
    """Hash of a developer's tree: git's tree hash of the current work tree, or a hash of all files.

    In a git tree, ignored files are left out, and the index and object store are not modified.
    """
    if is_git(path):
        return write_tree(path)
    return content_of_files(path)


def content_of_files(path: Path) -> str:
    """A hash of all files of a tree without git, or of its copy, which may have got one.

    A build asks several times, and reading all of Linux takes half a minute; so files that nobody has
    touched since, by size, inode and times, are read once.
    """
    files = tuple(sorted(p for p in path.rglob("*") if p.is_file() and not p.is_relative_to(path / ".git")))
    state = hashlib.sha256()
    for file in files:
        stat = file.stat()
        times = f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        state.update(f"{file}\0{times}\n".encode())
    return _content_of_files(path, files, state.hexdigest())


@functools.lru_cache(maxsize=4)
def _content_of_files(path: Path, files: tuple[Path, ...], state: str) -> str:
    """The hash; ``state`` is another one whenever a file may have changed."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(path)}\0{sha256_of(file)}\n".encode())
    return total.hexdigest()


def git_dir(path: Path) -> Path:
    """The directory that holds the objects of the git work tree at ``path``."""
    common = git(
        path, "rev-parse", "--path-format=absolute", "--git-common-dir",
        what=f"find the git directory of {path}",
    )  # fmt: skip
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
            git(
                path, "rev-parse", "--path-format=absolute", "--git-path", "index",
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
        git(path, "add", "--all", ".", what=f"hash {path}", env=env)
        return git(path, "write-tree", what=f"hash {path}", env=env).strip()

