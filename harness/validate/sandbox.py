# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of a foreign tree, run by bubblewrap: no network, and nothing to write to but what is named.

Makefiles, Kconfig and checkpatch are programs that somebody sent. They see the host's system folders, but
neither a home nor /run, where agents and daemons listen; they get a process tree of their own.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core import process
from harness.core.errors import EvhError, InfraError

# A home may hold programs that a PATH names, and nobody in the sandbox sees it.
SYSTEM_PATH = "/usr/lib/ccache:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Folders that are empty in the sandbox, except for what is named.
HIDDEN = ("/tmp", "/var/tmp", "/run", "/root", "/home", "/mnt", "/media", "/srv")


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Where programs of a foreign tree may read and write.

    Attributes:
        writable: folders that they may write to; they exist.
        readable: folders that they see, besides the system's.
        confined: False: run them as they are (``--no-sandbox``).
    """

    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    confined: bool = True

    def command(self, words: Sequence[str | Path], *, cwd: Path) -> list[str | Path]:
        """The command that runs ``words`` in the sandbox."""
        if not self.confined:
            return [*words]
        start: list[str | Path] = [process.need("bwrap", package="bubblewrap"), *_WORDS]
        hidden = [
            *HIDDEN,
            *([home] if (home := os.environ.get("HOME", "")) not in ("", "/", *HIDDEN) else []),
        ]
        start += [word for place in hidden if Path(place).is_dir() for word in ("--tmpfs", place)]
        start += [word for place in self.readable for word in ("--ro-bind", place, place)]
        start += [word for place in self.writable for word in ("--bind", place, place)]
        return [*start, "--chdir", cwd, "--setenv", "PATH", SYSTEM_PATH, "--", *words]


_WORDS = (
    "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
    "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
    # A root user's programs could undo the mounts.
    "--cap-drop", "ALL", "--die-with-parent", "--new-session",
)  # fmt: skip


@functools.cache
def problem() -> str:
    """Why there is no sandbox on this host; empty: there is one."""
    try:
        words = Sandbox().command(["true"], cwd=Path("/"))
        process.run(words, what="try bubblewrap")
    except EvhError as error:
        return error.message
    return ""


def check() -> None:
    """Check that there is a sandbox.

    Raises:
        InfraError: bubblewrap is not installed, or the host lets nobody make namespaces.
    """
    if why := problem():
        raise InfraError(
            f"foreign Makefiles would run on this host without a sandbox: {why}",
            hint="Install bubblewrap (`make setup` does), allow user namespaces, or give --no-sandbox.",
        )
