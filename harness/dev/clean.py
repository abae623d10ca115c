# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of `evh clean`: which folders it may remove, and when."""

from __future__ import annotations

import fcntl
from pathlib import Path

from harness.core.errors import UserError
from harness.machine.attach import running
from harness.run.record import load


def refuse_while_used(root: Path, live: list[Path]) -> None:
    """Refuse to remove the store while a build or a run uses it.

    Args:
        root: folder of the store.
        live: folders of active runs.

    Raises:
        UserError: ``live`` is not empty, or a process holds a lock of the store.
    """
    if live:
        raise UserError(
            f"the run in {live[0]} is active and boots from the store",
            hint="Stop it, or remove only run folders: evh clean --no-store.",
        )
    for path in sorted((root / "locks").glob("*")):
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise UserError(
                    f"a build is active: it holds the lock {path.name} in {root}",
                    hint="Wait for it, or remove only run folders: evh clean --no-store.",
                ) from e


def is_run_dir(path: Path) -> bool:
    """Whether ``path`` is a run folder; `evh clean` removes no other folder under ``runs``."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and any((path / name).exists() for name in ("run.json", "domain.xml", "consoles.log"))
    )


def under_way(path: Path) -> bool:
    """Whether a run is active, or keeps its machine up."""
    if any(folder == path for folder, _ in running(path.parent)):
        return True
    try:
        return load(path)[1].state == "running"
    except UserError:
        return False


def size_of(path: Path) -> int:
    """Bytes that a file or folder uses on disk; of a sparse file, only its allocated blocks."""
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)
