# SPDX-License-Identifier: GPL-2.0-or-later
"""What `evh clean` may remove, and what it must not."""

from __future__ import annotations

import fcntl
from pathlib import Path

from harness.core.errors import UserError
from harness.machine.attach import running
from harness.run.record import load


def refuse_while_used(root: Path, live: list[Path]) -> None:
    """Keep a build or a run that is under way from losing what it stands on.

    Args:
        root: of the store.
        live: folders of runs that are under way.

    Raises:
        UserError: there is such a run, or some process holds a lock of the store.
    """
    if live:
        raise UserError(
            f"a run is under way in {live[0]}, and boots from the store",
            hint="End it, or remove run folders alone: evh clean --no-store.",
        )
    for path in sorted((root / "locks").glob("*")):
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise UserError(
                    f"a build is under way: {path.name} is locked in {root}",
                    hint="Wait for it, or remove run folders alone: evh clean --no-store.",
                ) from e


def is_run_dir(path: Path) -> bool:
    """Whether a folder was made by us: nothing else is ever removed."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and any((path / name).exists() for name in ("run.json", "domain.xml", "consoles.log"))
    )


def under_way(path: Path) -> bool:
    """Whether a run's process, or a machine that it keeps up, is there."""
    if any(folder == path for folder, _ in running(path.parent)):
        return True
    try:
        return load(path)[1].state == "running"
    except UserError:
        return False


def size_of(path: Path) -> int:
    """Bytes that a file or folder takes on the disk (sparse files count what they use)."""
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)
