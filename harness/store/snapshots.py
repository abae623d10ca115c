# SPDX-License-Identifier: GPL-2.0-or-later
"""Where saved machines are kept: folders found by a key, within a budget of disk space.

    ROOT/snapshots/KEY/          one snapshot, and stamps.json, by which a later write is noticed
    ROOT/snapshots/KEY.refused   why it did not come up, one line for each time
    ROOT/snapshots/.make-XXXX    being made; renamed to KEY when complete
    ROOT/snapshots/in-use        locked (flock), shared, while somebody starts from one

Unlike artifacts, they are never hashed: a machine is booted in less time than it
takes to read its memory. What is there is complete, since it was renamed; a
host that loses power may leave one that is not, which then does not come up.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.core import locks, paths
from harness.store.files import MAKING, discard, stat_stamp, write_atomic
from harness.store.hashes import key_of

FOLDER = "snapshots"
STAMPS = "stamps.json"
USED = "used"
REFUSED = ".refused"
# Bytes for all snapshots; the least recently used ones go. One takes 100 to 300 MiB.
BUDGET = 2 << 30
# So often may the snapshots of one key not come up; then no more are made.
TRIES = 2
# Seconds after which an unfinished one is a leftover: making one takes seconds.
LEFTOVER = 3600.0


class Snapshots:
    """The snapshots below ``root``; the folder is created at the first write.

    Args:
        root: of the store.
        say: is told when this waits for somebody.
        budget: bytes for all of them.
    """

    def __init__(
        self, root: Path | None = None, *, say: Callable[[str], object] = print, budget: int = BUDGET
    ) -> None:
        self.root = (root or paths.cache()) / FOLDER
        self.budget = budget
        self._say = say

    def key(self, inputs: Mapping[str, str], files: Mapping[str, Path]) -> str:
        """Key of a snapshot.

        Args:
            inputs: what it depends on, by name.
            files: on whose content it depends, too. They are known by inode, size and times: a file that was
                written or made again is another one.
        Raises: OSError: a file is missing.
        """
        known = {f"file {name}": f"{path} {stat_stamp(path)}" for name, path in files.items()}
        return key_of(FOLDER, {**inputs, **known})

    @contextmanager
    def open(self, key: str) -> Iterator[tuple[Path | None, str]]:
        """The folder of a snapshot, which is not removed while the block runs.

        Yields: the folder, and why there is none; if there simply is none yet, that is empty.
        """
        with locks.sharing(self.root, say=self._say):
            home = self.root / key
            if not home.is_dir():
                yield None, ""
            elif problem := _damage(home):
                yield None, problem
            else:
                with contextlib.suppress(OSError):  # a store that others own can be used, too
                    (home / USED).touch()
                yield home, ""

    @contextmanager
    def make(self, key: str) -> Iterator[Path]:
        """An empty folder to be filled; it becomes the snapshot of ``key`` unless the block raises.

        Raises: OSError: it cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=MAKING, dir=self.root))
        try:
            yield making
            stamps = {path.name: stat_stamp(path) for path in making.iterdir()}
            write_atomic(making / STAMPS, json.dumps(stamps))
            (making / USED).touch()
            home = self.root / key
            discard(home)
            making.rename(home)
        finally:
            discard(making)
        self.prune(keep=home)

    def refuse(self, key: str, why: str) -> None:
        """Remove a snapshot that did not come up, and remember why."""
        discard(self.root / key)
        with self._refused(key).open("a") as file:
            file.write(" ".join(why.split())[:500] + "\n")

    def refusals(self, key: str) -> list[str]:
        """Why snapshots of ``key`` did not come up, each time."""
        try:
            return self._refused(key).read_text().splitlines()
        except OSError:
            return []

    def _refused(self, key: str) -> Path:
        return self.root / f"{key}{REFUSED}"

    def prune(self, *, keep: Path | None = None) -> None:
        """Remove the least recently used snapshots beyond the budget, unless somebody starts from one now.

        Args:
            keep: is not removed.
        """
        with locks.alone(self.root) as user:
            if user:
                return
            for path in self.root.glob(".*"):
                if time.time() - path.stat().st_mtime > LEFTOVER:
                    shutil.rmtree(path, ignore_errors=True)
            homes = [path for path in self.root.iterdir() if (path / STAMPS).is_file()]
            homes.sort(key=lambda home: (home == keep, (home / USED).stat().st_mtime), reverse=True)
            total = 0
            for home in homes:
                total += _bytes(home)
                if total > self.budget and home != keep:
                    discard(home)


def _damage(home: Path) -> str:
    """What has happened to a snapshot since it was made; empty: nothing."""
    try:
        stamps = json.loads((home / STAMPS).read_bytes())
        for name, stamp in stamps.items():
            if stat_stamp(home / name) != stamp:
                return f"{name} was written since it was made"
    except (OSError, ValueError, AttributeError) as error:
        return f"it is not complete: {error}"
    return ""


def _bytes(home: Path) -> int:
    """What a snapshot takes on disk; its memory has holes."""
    return sum(path.stat().st_blocks * 512 for path in home.iterdir())
