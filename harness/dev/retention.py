# SPDX-License-Identifier: GPL-2.0-or-later
"""What `evh clean` keeps where it is told to: runs by number, age and verdict; the store by a budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.dev.clean import size_of, under_way
from harness.run.record import RUN_JSON, RunRecord, load

# Folders of the store whose contents can be made again, or downloaded. The keys of machines cannot: what was
# built with other ones no longer fits. Locks, logs and stamps are small.
NEVER = ("keys", "locks", "logs", "stamps")


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Which runs stay: one of these suffices. None and False keep nothing.

    Attributes:
        runs: the newest so many.
        days: those that began within so many days.
        red: those that are neither ``pass`` nor ``skip``.
    """

    runs: int | None = None
    days: int | None = None
    red: bool = False

    @property
    def given(self) -> bool:
        """Whether anything is kept at all."""
        return self.runs is not None or self.days is not None or self.red


@dataclass(frozen=True, kw_only=True)
class _Seen:
    folder: Path
    record: RunRecord | None
    began: datetime


def expired(folders: Sequence[Path], keep: Keep, *, now: datetime | None = None) -> list[Path]:
    """The run folders that may go, oldest first. One that a process uses is never among them.

    Args:
        folders: run folders.
        now: for ``days``; it has a time zone.
    """
    now = now or datetime.now(UTC)
    seen = sorted((_look(folder) for folder in folders), key=lambda one: (one.began, one.folder.name))
    newest = {one.folder for one in seen[-keep.runs :]} if keep.runs else set()
    gone = []
    for one in seen:
        recent = keep.days is not None and now - one.began <= timedelta(days=keep.days)
        if one.folder in newest or recent or (keep.red and _red(one.record)) or under_way(one.folder):
            continue
        gone.append(one.folder)
    return gone


def _look(folder: Path) -> _Seen:
    """A folder whose record cannot be read is as old as the folder."""
    try:
        record = load(folder)[1]
        return _Seen(folder=folder, record=record, began=datetime.fromisoformat(record.started))
    except (UserError, ValueError):
        stamp = (folder / RUN_JSON if (folder / RUN_JSON).exists() else folder).stat().st_mtime
        return _Seen(folder=folder, record=None, began=datetime.fromtimestamp(stamp, UTC))


def _red(record: RunRecord | None) -> bool:
    """What cannot be read is not known to be green."""
    return record is None or record.verdict not in (Verdict.PASS, Verdict.SKIP)


def keys_of_runs(folders: Sequence[Path]) -> set[str]:
    """Store keys of what runs booted, so that `evh repro` still finds it."""
    records = [one.record for one in map(_look, folders)]
    return {artifact.key for record in records if record is not None for artifact in record.artifacts}


def over_budget(root: Path, budget: int, *, needed: Collection[str]) -> tuple[list[Path], int]:
    """What has to go so that the store fits its budget: what was used longest ago comes first.

    The caller holds the store's lock, so nobody uses any of it.

    Args:
        root: the store.
        budget: bytes.
        needed: keys of artifacts that stay.

    Returns:
        Folders to remove, and the size of the store after that, in bytes; more than ``budget`` if the rest is
        needed.
    """
    total = size_of(root)
    found: list[tuple[float, Path]] = []
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or folder.name in NEVER or folder.name.startswith("."):
            continue
        for home in sorted(folder.iterdir()):
            if home.is_dir() and not home.is_symlink() and home.name not in needed:
                found.append((_used(root, home), home))
    gone = []
    for _, home in sorted(found):
        if total <= budget:
            break
        total -= size_of(home)
        gone.append(home)
    return gone, total


def _used(root: Path, home: Path) -> float:
    """When an artifact or a tree was used last, as far as the file system knows."""
    stamp = root / "stamps" / f"{home.parent.name}-{home.name}.json"
    manifest = home / "manifest.json"
    return next((path.stat().st_mtime for path in (stamp, manifest) if path.exists()), home.stat().st_mtime)
