# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks that say who uses a folder (flock).

The kernel releases a lock however its holder ends, so none is ever stale. A
process id would be: another process may have it by the time it is looked up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# In a run folder while a process uses it; in the store always.
IN_USE = "in-use"


@contextmanager
def using(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which only one process uses; the file goes at the end.

    Raises:
        OSError: the file cannot be written.
    """
    # Nobody sees the file unlocked: it gets its name when it is locked.
    fresh = folder / f".{IN_USE}-{os.getpid()}"
    handle = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        fresh.rename(folder / IN_USE)
        yield
    finally:
        (folder / IN_USE).unlink(missing_ok=True)
        fresh.unlink(missing_ok=True)
        os.close(handle)


def in_use(folder: Path) -> bool:
    """Whether a process holds the lock of ``folder``."""
    try:
        handle = os.open(folder / IN_USE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def sharing(
    folder: Path, *, say: Callable[[str], object], tidy: Callable[[], object] | None = None
) -> Iterator[None]:
    """Hold the lock of a folder that any number of processes use, and one may remove.

    Args:
        say: is told when this waits for a process that removes or tidies the folder.
        tidy: called at the end, with the folder locked, if nobody else uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / IN_USE, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError:
        # A full or read-only disk; nobody removes much from the latter.
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{folder} is being removed or tidied up{_by(handle)}, waiting")
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
        if tidy is not None and _is_alone(handle):
            tidy()
    finally:
        os.close(handle)


def _is_alone(handle: int) -> bool:
    """Take the lock of an open file exclusively, if nobody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def alone(folder: Path) -> Iterator[str]:
    """Hold the lock of a shared folder exclusively.

    Yields:
        Who uses it, if somebody does, and then it is not locked: `` by pid 7 (evh boot)``; else empty.
    """
    handle = os.open(folder / IN_USE, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        yield "" if _is_alone(handle) else _by(handle) or " by a process that cannot be seen from here"
    finally:
        os.close(handle)


def _by(handle: int) -> str:
    """The processes that hold the lock of an open file, as /proc/locks knows them."""
    inode = os.fstat(handle).st_ino
    who = []
    for line in Path("/proc/locks").read_text().splitlines():
        # "1: FLOCK  ADVISORY  READ 12345 fe:01:4711 0 EOF"; one that waits has "->" after the number.
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            command = b""
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{words[4]}/cmdline").read_bytes()
            shown = shlex.join(os.fsdecode(word) for word in command.split(b"\0")[:-1])
            who.append(f"pid {words[4]} ({shown[:200] or 'unknown'})")
    return f" by {', '.join(who)}" if who else ""
