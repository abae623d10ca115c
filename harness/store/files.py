# SPDX-License-Identifier: GPL-2.0-or-later
"""Content-addressed store: a directory for each thing that was made, found by what went in.

    ROOT/KIND/KEY/             one artifact: its files and manifest.json
    ROOT/KIND/.make-KEY-XXXX   being made; renamed to KEY when whole
    ROOT/KIND/.corrupt-KEY     moved aside because it no longer is what was made
    ROOT/locks/KIND-KEY        held (flock) while one run makes KEY, others wait
    ROOT/logs/                 logs of builds that failed

Whatever stands at ROOT/KIND/KEY is whole: it was synced, then renamed. A kill
at any moment leaves only a .make- directory, which the next maker of the same
key removes (it holds the lock, so nobody else can be using it).
"""

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
# Directories whose name starts so are not artifacts.
MAKING, CORRUPT, TRASH = ".make-", ".corrupt-", ".trash-"


def stat_stamp(path: Path) -> list[int]:
    """Inode, size and times: equal means nobody wrote in between."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def damage(home: Path, manifest: Mapping[str, Any], stamp: Mapping[str, Any]) -> str:
    """What is wrong with the artifact at ``home``; empty if nothing is."""
    if manifest["format"] != FORMAT or manifest["key"] != home.name:
        return "its manifest belongs to another artifact"
    for name, entry in manifest["files"].items():
        path = home / name
        if not path.is_file():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != entry["size"]:
            return f"{name} has {size} bytes instead of {entry['size']}"
        if stamp.get(name) != stat_stamp(path) and sha256_of(path) != entry["sha256"]:
            return f"{name} has another SHA-256 than when it was made"
    return ""


def files_in(directory: Path) -> Iterator[Path]:
    """Every file below ``directory`` except the manifest, in a fixed order."""
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
    """fsync everything below ``directory``, directories after what is in them."""
    for parent, _, names in os.walk(directory, topdown=False):
        for name in names:
            if not (Path(parent) / name).is_symlink():
                sync(Path(parent) / name)
        sync(Path(parent))


def write_atomic(path: Path, text: str) -> None:
    """Write ``path`` so that it is never seen half-written."""
    handle, name = tempfile.mkstemp(prefix=TRASH, dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def discard(path: Path) -> None:
    """Remove a directory tree, first from sight, then from disk.

    A compiler that outlived a killed run may still write into it; what cannot
    be removed now is left under a name that nobody takes for an artifact.
    """
    if not path.exists():
        return
    trash = path.parent / f"{TRASH}{path.name}-{os.getpid()}-{time.monotonic_ns()}"
    try:
        path.rename(trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)

