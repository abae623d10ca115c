# SPDX-License-Identifier: GPL-2.0-or-later
"""File operations of the store: atomic writes, syncing, removal, and damage checks of an artifact."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.store.hashes import FORMAT, sha256_of

MANIFEST = "manifest.json"
# Prefixes of directories that are not artifacts.
MAKING, CORRUPT, TRASH = ".make-", ".corrupt-", ".trash-"


def stat_stamp(path: Path) -> list[int]:
    """Inode, size, mtime and ctime (ns); if they are equal, the file was not written in between."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def damage(home: Path, manifest: Mapping[str, Any], stamp: Mapping[str, Any]) -> str:
    """What is wrong with the artifact at ``home``; empty if it is intact.

    Args:
        stamp: :func:`stat_stamp` of each file when it was last hashed; unchanged files are not hashed again.
    """
    if manifest["format"] != FORMAT or manifest["key"] != home.name:
        return "its manifest belongs to another artifact"
    for name, entry in manifest["files"].items():
        path = home / name
        if not path.is_file():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != entry["size"]:
            return f"{name} has {size} bytes, not {entry['size']}"
        if stamp.get(name) != stat_stamp(path) and sha256_of(path) != entry["sha256"]:
            return f"the SHA-256 of {name} has changed since it was made"
    return ""


def files_in(directory: Path) -> Iterator[Path]:
    """Every regular file in ``directory`` except the manifest, in a fixed order."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink() and path != directory / MANIFEST:
            yield path


def sync(path: Path) -> None:
    """fsync a file or a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(directory: Path) -> None:
    """fsync everything in ``directory``, each directory after its content."""
    for parent, _, names in os.walk(directory, topdown=False):
        for name in names:
            if not (Path(parent) / name).is_symlink():
                sync(Path(parent) / name)
        sync(Path(parent))


def write_atomic(path: Path, text: str) -> None:
    """Write ``path`` atomically: readers never see a partial file."""
    handle, name = tempfile.mkstemp(prefix=TRASH, dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def discard(path: Path) -> None:
    """Remove a directory tree: rename it first, then delete it.

    A compiler left over from a killed run may still be writing to it; whatever
    cannot be deleted now stays under a name that is not taken for an artifact.
    """
    if not path.exists():
        return
    trash = path.parent / f"{TRASH}{path.name}-{os.getpid()}-{time.monotonic_ns()}"
    try:
        path.rename(trash)
    except FileNotFoundError:
        return
    except OSError:  # a full disk: a new name may need space
        trash = path
    shutil.rmtree(trash, ignore_errors=True)

