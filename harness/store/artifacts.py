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

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import paths, process
from harness.core.errors import EvhError, InfraError
from harness.core.progress import Progress
from harness.store.files import (
    CORRUPT,
    MAKING,
    MANIFEST,
    damage,
    discard,
    files_in,
    stat_stamp,
    sync,
    sync_tree,
    write_atomic,
)
from harness.store.hashes import FORMAT, key_of, sha256_of, short

# Of each kind this many artifacts are kept, and whatever was used lately.
KEEP = 4
LATELY = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A directory in the store.

    Attributes:
        path: the directory; read only, never write to it.
        key: hash of what went in.
        hit: it was there already.
        reason: why it had to be made ("first build", "series changed"); empty for a hit.
        files: SHA-256 of each file by its path inside, for keys that build on it.
    """

    path: Path
    key: str
    hit: bool
    reason: str
    files: Mapping[str, str]


class Store:
    """The store below ``root``; made when first written to."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or paths.cache()

    def get(
        self,
        kind: str,
        inputs: Mapping[str, str],
        make: Callable[[Path], None],
        progress: Progress,
    ) -> Artifact:
        """The artifact of ``kind`` made from ``inputs``, made now if it isn't there.

        Args:
            inputs: everything that decides the content, by name; short values, since
                they are shown when one of them changed.
            make: fills the (empty) directory it is given, or raises. Files named
                ``*.log`` outlive its failure in ``root/logs``.

        Raises:
            InfraError: no space, or no permission to write.
            EvhError: what ``make`` raised, with the place of its log.
        """
        key = key_of(kind, inputs)
        home = self.root / kind / key
        found = self._load(home, progress)
        if found is not None:
            return found
        with self._locked(kind, key, progress):
            # Another run may have made it while we waited for the lock.
            found = self._load(home, progress)
            if found is not None:
                return found
            reason = self.reason(kind, inputs)
            progress.say(f"{kind}: building ({reason})")
            try:
                return self._make(kind, key, inputs, make, reason)
            except OSError as error:
                raise self._explained(error, kind) from error

    def find(self, kind: str, key: str, progress: Progress) -> Artifact | None:
        """The artifact of that key if it is in the store, whole."""
        return self._load(self.root / kind / key, progress)

    def has(self, kind: str, inputs: Mapping[str, str]) -> bool:
        """Whether the artifact is there (its content is not checked)."""
        return (self.root / kind / key_of(kind, inputs) / MANIFEST).is_file()

    def reason(self, kind: str, inputs: Mapping[str, str]) -> str:
        """Why there is no artifact for ``inputs``: which of them differ from the newest one's."""
        newest = max(self._manifests(kind), key=lambda m: float(m["created"]), default=None)
        if newest is None:
            return "first build"
        old: dict[str, str] = newest["inputs"]
        changes = []
        for name in sorted(old.keys() | inputs.keys()):
            before, after = old.get(name), inputs.get(name)
            if before is None:
                changes.append(f"{name} is new")
            elif after is None:
                changes.append(f"{name} is gone")
            elif before != after:
                changes.append(f"{name} changed: {short(before)} -> {short(after)}")
        return "; ".join(changes) or "the earlier one is gone or was damaged"

    def _manifests(self, kind: str) -> Iterator[dict[str, Any]]:
        for path in (self.root / kind).glob(f"[!.]*/{MANIFEST}"):
            try:
                manifest = json.loads(path.read_bytes())
                if manifest["format"] == FORMAT:
                    yield manifest
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def _load(self, home: Path, progress: Progress) -> Artifact | None:
        """The artifact at ``home`` if it is there and still what was made; else None."""
        if not home.is_dir():
            return None
        try:
            manifest = json.loads((home / MANIFEST).read_bytes())
            wrong = damage(home, manifest, self._stamp(home))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            manifest, wrong = {}, f"its manifest cannot be read ({error})"
        if wrong:
            aside = home.parent / f"{CORRUPT}{home.name}"
            discard(aside)
            # Two runs may notice at once: the second finds it gone already.
            try:
                home.rename(aside)
            except FileNotFoundError:
                return None
            progress.say(
                f"{home.parent.name}: the stored copy is damaged: {wrong}; "
                f"moved to {aside}, building it again"
            )
            return None
        self._remember(home)
        files = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        return Artifact(path=home, key=home.name, hit=True, reason="", files=files)

    def _make(
        self,
        kind: str,
        key: str,
        inputs: Mapping[str, str],
        make: Callable[[Path], None],
        reason: str,
    ) -> Artifact:
        home = self.root / kind / key
        home.parent.mkdir(parents=True, exist_ok=True)
        for left in home.parent.glob(f"{MAKING}{key}-*"):
            discard(left)
        making = Path(tempfile.mkdtemp(prefix=f"{MAKING}{key}-", dir=home.parent))
        started = time.time()
        try:
            making.chmod(0o755)
            make(making)
            files = {
                path.relative_to(making).as_posix(): {
                    "size": path.stat().st_size,
                    "sha256": sha256_of(path),
                }
                for path in files_in(making)
            }
            manifest = {
                "format": FORMAT,
                "kind": kind,
                "key": key,
                "created": time.time(),
                "seconds": round(time.time() - started, 1),
                "reason": reason,
                "inputs": dict(sorted(inputs.items())),
                "files": files,
            }
            text = json.dumps(manifest, indent=1) + "\n"
            (making / MANIFEST).write_text(text)
            sync_tree(making)
            making.rename(home)
            sync(home.parent)
        except EvhError as error:
            raise self._with_log(error, making, kind, key) from error
        finally:
            if making.exists():
                discard(making)
        self._remember(home)
        self._prune(kind)
        return Artifact(
            path=home,
            key=key,
            hit=False,
            reason=reason,
            files={name: str(entry["sha256"]) for name, entry in files.items()},
        )

    def _prune(self, kind: str) -> None:
        """Drop artifacts of ``kind`` that are neither among the newest nor used lately."""
        uses: list[tuple[float, Path]] = []
        for home in (self.root / kind).glob("[!.]*"):
            try:
                uses.append((self._stamp_path(home).stat().st_mtime, home))
            except OSError:
                uses.append((home.stat().st_mtime, home))
        for used, home in sorted(uses, reverse=True)[KEEP:]:
            if time.time() - used > LATELY:
                discard(home)
                self._stamp_path(home).unlink(missing_ok=True)

    def _with_log(self, error: EvhError, making: Path, kind: str, key: str) -> EvhError:
        """``error`` with the place to which the logs of the failed build were saved."""
        kept = []
        for log in sorted(making.glob("*.log")):
            logs = self.root / "logs"
            logs.mkdir(exist_ok=True)
            target = logs / f"{kind}-{key[:12]}-{time.strftime('%Y%m%d-%H%M%S')}-{log.name}"
            shutil.copyfile(log, target)
            kept.append(str(target))
        if not kept:
            return error
        return type(error)(f"{error.message}\nwhole log: {', '.join(kept)}", hint=error.hint)

    def _explained(self, error: OSError, kind: str) -> EvhError:
        """What the operating system refused, as an error with a next step."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return InfraError(
                f"no space left while making {kind} in {self.root}",
                hint="free some space, `evh clean`, or set XDG_CACHE_HOME to a bigger disk.",
            )
        return InfraError(
            f"cannot write the {kind} artifact in {self.root}: {error}",
            hint="XDG_CACHE_HOME moves the store to a place you can write to.",
        )

    @contextmanager
    def _locked(self, kind: str, key: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of one key; the kernel drops it when we die, however we die."""
        with self.lock(f"{kind}-{key}", what=f"{kind}: another run is building it", say=progress.say):
            yield

    @contextmanager
    def lock(self, name: str, *, what: str, say: Callable[[str], None]) -> Iterator[None]:
        """Hold ``root/locks/name``; says ``what`` and the holder's pid where it has to wait.

        Raises:
            InfraError: the store cannot be written to.
        """
        locks = self.root / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            handle = os.open(locks / name, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._explained(error, "lock") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
                say(f"{what} (pid {holder or 'unknown'}), waiting")
                wait_for_lock(handle)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    # Hashing two gigabytes at each start would cost more than the rest of a
    # start. So it is remembered, outside the artifact, which inode, times and
    # sizes were hashed last; any write, even one that puts the mtime back,
    # moves the ctime, and then all of it is hashed again.

    def _stamp_path(self, home: Path) -> Path:
        return self.root / "stamps" / f"{home.parent.name}-{home.name}.json"

    def _stamp(self, home: Path) -> Mapping[str, Any]:
        try:
            stamp = json.loads(self._stamp_path(home).read_bytes())
            return stamp if isinstance(stamp, dict) else {}
        except (OSError, ValueError):
            return {}

    def _remember(self, home: Path) -> None:
        stamp = {p.relative_to(home).as_posix(): stat_stamp(p) for p in files_in(home)}
        path = self._stamp_path(home)
        try:
            if stamp == self._stamp(home):
                os.utime(path)  # last use, see _prune
                return
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, json.dumps(stamp))
        except OSError:
            # A store on a read-only or full disk is still good to read from.
            return


def wait_for_lock(handle: int) -> None:
    """Wait for a lock that somebody else holds.

    By asking again and again, since a thread that sleeps in flock() could not
    be called off when the other half of its build fails.
    """
    while True:
        process.pause(0.2)
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue

