# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds and reads the run folders in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError
from harness.run.record import RUN_JSON, RunRecord, load


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder and its record."""

    folder: Path
    record: RunRecord

    @property
    def night(self) -> str:
        """The day on which it began, in UTC: 2026-11-29."""
        return self.record.started[:10]


def folders_in(where: Path) -> list[Path]:
    """The run folders in a folder, in order of their names."""
    return sorted(path.parent for path in where.glob(f"*/{RUN_JSON}"))


def read_runs(where: Path) -> tuple[list[Run], list[Path]]:
    """The runs in a folder, oldest first, and the folders that could not be read.

    Runs that are parts of a merged run in the same folder are left out: the merged one has their cells.

    Args:
        where: a folder of run folders, or one run folder.
    """
    folders = [where] if (where / RUN_JSON).is_file() else folders_in(where)
    runs, unread = [], []
    for folder in folders:
        try:
            runs.append(Run(folder=folder, record=load(folder)[1]))
        except UserError:  # cut short by a full disk, or from another version
            unread.append(folder)
    runs.sort(key=lambda run: (run.record.started, run.record.id))
    return without_parts(runs), unread


def without_parts(runs: Sequence[Run]) -> list[Run]:
    """The runs that are not part of another one of them."""
    parts = {(part.id, part.started) for run in runs for part in run.record.parts}
    return [run for run in runs if (run.record.id, run.record.started) not in parts]
