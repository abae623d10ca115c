# SPDX-License-Identifier: GPL-2.0-or-later
"""Content-addressed store: each artifact is a directory, found by a hash of its inputs.

    ROOT/KIND/KEY/             one artifact: its files and manifest.json
    ROOT/KIND/.make-KEY-XXXX   being made; renamed to KEY when complete
    ROOT/KIND/.corrupt-KEY     moved aside because its content has changed since it was made
    ROOT/in-use                locked (flock, shared) by everybody who uses the store, alone by `evh clean`
    ROOT/locks/KIND-KEY        locked (flock) while one run makes KEY and others wait
    ROOT/logs/                 logs of failed builds

Whatever is at ROOT/KIND/KEY is complete: it was synced, then renamed. A kill
at any moment leaves only a .make- directory. The next run that makes the same
key removes it, which is safe because that run holds the lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import locks, paths, process
from harness.core.errors import EvhError, InfraError, UserError
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

# Of each kind, the KEEP most recently used artifacts are kept, and all that were used in the last LATELY
# seconds. Artifacts of a few KiB, of which each run uses many, are kept longer.
KEEP = 4
KEEP_MANY = {"xtf-baseline": 1000}
LATELY = 24 * 3600.0


# How often to begin again if the inputs change while an artifact is made.
ATTEMPTS = 5

Inputs = Mapping[str, str]


class InputsChanged(EvhError):
    """What an artifact is made from has changed since its key was determined."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A directory in the store.

    Attributes:
        path: the directory; never write to it.
        key: hash of the inputs.
        hit: whether the store already had it.
        reason: why it had to be made ("first build", "series changed: ..."); empty for a hit.
        files: SHA-256 of each file by its path inside, for the keys of artifacts made from it.
    """

    path: Path
    key: str
    hit: bool
    reason: str
    files: Mapping[str, str]


class Store:
    """The store at ``root``; the directory is created at the first write."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or paths.cache()

    def in_use(self, *, say: Callable[[str], object]) -> AbstractContextManager[None]:
        """While the block runs, nothing is removed from the store; this waits while somebody does that.

        The last user to leave deletes the artifacts that have not been used for long.
        """
        return locks.sharing(self.root, say=say, tidy=self._prune)

    def get(
        self,
        kind: str,
        inputs: Inputs | Callable[[], Inputs],
        make: Callable[[Path], None],
        progress: Progress,
        *,
        taken: Collection[str] = (),
        announce: bool = True,
    ) -> Artifact:
        """The artifact of ``kind`` for ``inputs``; made now if the store does not have it.

        Args:
            inputs: everything that determines the content, by name. Values should be
                short, since they are shown when one of them changes. If files are among
                them that somebody may edit, a function: it is called again when the lock is
                held, and again when ``make`` is done, so that the key is that of what was made.
            make: fills the empty directory that it is given, or raises. If it fails,
                its files named ``*.log`` are copied to ``root/logs``. It raises InputsChanged
                if an input is no longer what ``inputs`` said.
            taken: inputs of which ``make`` takes a copy, so that they may change while it works.
            announce: say that it is made, and why; False where that takes a second and happens often.

        Raises:
            InfraError: no space, or no permission to write.
            UserError: the inputs change all the time.
            EvhError: raised by ``make``; the path of its log is added.
        """
        change: InputsChanged | None = None
        for _ in range(ATTEMPTS):
            known = inputs() if callable(inputs) else inputs

            def check(*, without: Collection[str] = (), known: Inputs = known) -> None:
                now = inputs() if callable(inputs) else inputs
                if names := [name for name in now if name not in without and now[name] != known.get(name)]:
                    raise InputsChanged(f"{', '.join(names)} changed meanwhile")

            def checked(dest: Path, check: Callable[..., None] = check) -> None:
                make(dest)
                check(without=taken)

            try:
                return self._get(kind, known, checked, progress, check, announce=announce)
            except InputsChanged as error:
                change = error
                progress.say(f"{kind}: {error.message}; beginning again")
        raise UserError(
            f"{kind} cannot be built: {change}, {ATTEMPTS} times", hint="Stop editing while it is built."
        ) from change

    def _get(
        self,
        kind: str,
        inputs: Inputs,
        make: Callable[[Path], None],
        progress: Progress,
        check: Callable[[], None],
        *,
        announce: bool,
    ) -> Artifact:
        key = key_of(kind, inputs)
        home = self.root / kind / key
        found = self._load(home, progress)
        if found is not None:
            return found
        with self._locked(kind, key, progress):
            # Another run may have made it while this one waited for the lock.
            found = self._load(home, progress)
            if found is not None:
                return found
            check()
            reason = self.reason(kind, inputs)
            if announce:
                progress.say(f"{kind}: building ({reason})")
            try:
                return self._make(kind, key, inputs, make, reason)
            except OSError as error:
                raise self._explained(error, kind) from error

    def find(self, kind: str, key: str, progress: Progress) -> Artifact | None:
        """The artifact with that key, if the store has it undamaged."""
        return self._load(self.root / kind / key, progress)

    def has(self, kind: str, inputs: Mapping[str, str]) -> bool:
        """Whether the store has the artifact; its content is not checked."""
        return (self.root / kind / key_of(kind, inputs) / MANIFEST).is_file()

    def reason(self, kind: str, inputs: Mapping[str, str]) -> str:
        """Why there is no artifact for ``inputs``: which of them differ from those of the newest artifact."""
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
                changes.append(f"{name} was removed")
            elif before != after:
                changes.append(f"{name} changed: {short(before)} -> {short(after)}")
        return "; ".join(changes) or "the earlier one was removed or damaged"

    def _manifests(self, kind: str) -> Iterator[dict[str, Any]]:
        for path in (self.root / kind).glob(f"[!.]*/{MANIFEST}"):
            try:
                manifest = json.loads(path.read_bytes())
                if manifest["format"] == FORMAT:
                    yield manifest
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def _load(self, home: Path, progress: Progress) -> Artifact | None:
        """The artifact at ``home``; None if there is none or it is damaged, after moving it aside."""
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
            # Two runs may notice at the same time; for the second one it has already been moved.
            try:
                home.rename(aside)
            except FileNotFoundError:
                return None
            progress.say(
                f"{home.parent.name}: the stored artifact is damaged: {wrong}; "
                f"it was moved to {aside} and is built again"
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
        except InputsChanged:
            raise
        except EvhError as error:
            raise self._with_log(error, making, kind, key) from error
        finally:
            if making.exists():
                discard(making)
        self._remember(home)
        return Artifact(
            path=home,
            key=key,
            hit=False,
            reason=reason,
            files={name: str(entry["sha256"]) for name, entry in files.items()},
        )

    def _prune(self) -> None:
        """Delete artifacts that exceed KEEP of their kind and have not been used for LATELY seconds."""
        uses: dict[str, list[tuple[float, Path]]] = {}
        for manifest in self.root.glob(f"[!.]*/[!.]*/{MANIFEST}"):
            home = manifest.parent
            stamp = self._stamp_path(home)
            used = (stamp if stamp.exists() else manifest).stat().st_mtime
            uses.setdefault(home.parent.name, []).append((used, home))
        for kind, of_kind in uses.items():
            for used, home in sorted(of_kind, reverse=True)[KEEP_MANY.get(kind, KEEP) :]:
                if time.time() - used > LATELY:
                    discard(home)
                    self._stamp_path(home).unlink(missing_ok=True)

    def _with_log(self, error: EvhError, making: Path, kind: str, key: str) -> EvhError:
        """``error`` with the paths to which the logs of the failed build were saved."""
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
        """An error with a hint for a failure of the operating system."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return InfraError(
                f"no space left while making {kind} in {self.root}",
                hint="free some space, run `evh clean`, or point XDG_CACHE_HOME to a larger disk.",
            )
        return InfraError(
            f"cannot write the {kind} artifact in {self.root}: {error}",
            hint="set XDG_CACHE_HOME to a directory that you can write to.",
        )

    @contextmanager
    def _locked(self, kind: str, key: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of one key; the kernel releases it however this process ends."""
        with self.lock(f"{kind}-{key}", what=f"{kind}: another run is building it", say=progress.say):
            yield

    @contextmanager
    def lock(self, name: str, *, what: str, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock ``root/locks/name``.

        Args:
            what: reported by ``say``, with the pid of the holder, if the lock is taken.

        Raises:
            InfraError: the store cannot be written to.
        """
        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
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

    # Hashing two gigabytes would take longer than everything else at a start. So
    # the inode, times and size of each hashed file are recorded outside the
    # artifact. Any write changes the ctime, even if it restores the mtime, and
    # then the file is hashed again.

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
            # A store on a read-only or full disk can still be read.
            return


def wait_for_lock(handle: int) -> None:
    """Wait for a lock that another process holds.

    The lock is polled, since a thread that blocks in flock() could not be
    stopped when the other lane of the build fails.

    Raises:
        process.Cancelled: the scope was stopped.
    """
    while True:
        process.pause(0.2)
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue

