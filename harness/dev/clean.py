# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of `evh clean`: which folders it may remove, and when."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import UserError
from harness.core.locks import IN_USE, alone, in_use


@contextmanager
def unused(root: Path) -> Iterator[None]:
    """While the block runs, nobody else uses the store.

    Raises:
        UserError: somebody does: a run in any folder, `evh boot`, `evh shell` or a build.
    """
    hint = "Wait for it or stop it, or remove only run folders: evh clean --no-store."
    with alone(root) as user:
        if user:
            raise UserError(f"the store in {root} is in use{user}", hint=hint)
        for path in sorted((root / "locks").glob("*")):
            with path.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as e:
                    raise UserError(
                        f"a build is active: it holds the lock {path.name} in {root}", hint=hint
                    ) from e
        yield


# One of these is in each folder of a run, a validation or a machine that was kept up.
MARKS = (IN_USE, "run.json", "validate.json", "domain.xml", "consoles.log")


def is_run_dir(path: Path) -> bool:
    """Whether ``path`` is a run folder; `evh clean` removes no other folder under ``runs``."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and any((path / name).exists() for name in MARKS)
    )


def under_way(path: Path) -> bool:
    """Whether a process uses a run folder: a run, a machine that is kept up, or gdb in a folder below."""
    return any(in_use(folder) for folder in (path, *(lock.parent for lock in path.glob(f"*/{IN_USE}"))))


def size_of(path: Path) -> int:
    """Bytes that a file or folder uses on disk; of a sparse file, only its allocated blocks."""
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)
