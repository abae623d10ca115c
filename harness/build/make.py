# SPDX-License-Identifier: GPL-2.0-or-later
"""Run make for Xen and Linux: progress, logs, ccache and object directories."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Tree
from harness.store.files import discard

# Kbuild's short log, e.g. "  CC      kernel/fork.o". Xen's has the same format.
_OBJECT = re.compile(r"^  (?:CC|AS|CPP|HOSTCC)\s")


@contextmanager
def object_folder(tree: Tree, name: str) -> Iterator[Path]:
    """The object directory beside a tree.

    For a series it starts empty and is removed after success: an artifact must
    not depend on earlier builds, and ccache makes up for most of the cost. For a
    developer's own tree it is kept for incremental builds.
    """
    path = tree.path.with_name(f"{tree.path.name}.objects-{name}")
    if tree.source.tree is None:
        discard(path)
    path.mkdir(exist_ok=True)
    yield path
    if tree.source.tree is None:
        discard(path)


class Make:
    """Runs make in one directory; output goes to a log, the number of objects to the progress line."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        jobs: int,
        progress: Progress,
        name: str,
        env: Mapping[str, str],
    ) -> None:
        self._command = [process.need("make", package="make"), f"-j{jobs}", *arguments]
        self._cwd = cwd
        self._log = log
        self._progress = progress
        self._name = name
        self._env = {**env, **ccache(cwd)}

    def __call__(self, *targets: str) -> None:
        """Make ``targets``.

        Raises:
            UserError: make failed; the message contains the first compiler error.
        """
        count = 0
        goal = " ".join(t for t in targets if "=" not in t)
        with self._progress.step(f"{self._name}: make {goal}".rstrip()) as step:

            def on_line(line: str) -> None:
                nonlocal count
                if _OBJECT.match(line):
                    count += 1
                    step.update(f"{count} objects")

            process.run(
                [*self._command, *(t for t in targets if t)],
                what=f"build {self._name} ({goal or 'all'})",
                cwd=self._cwd,
                env=self._env,
                log=self._log,
                on_line=on_line,
                error=UserError,
                hint="correct the first error above; the whole log has the command before it.",
            )


def ccache(tree: Path) -> dict[str, str]:
    """Environment that puts ccache in front of the compiler, if it is installed (with Debian's links)."""
    links = Path("/usr/lib/ccache")
    if not (links / "gcc").exists():
        return {}
    return {
        "PATH": f"{links}:{os.environ.get('PATH', os.defpath)}",
        # Objects of a tree can be reused for a copy of it in another place.
        "CCACHE_BASEDIR": str(tree.parent),
        "CCACHE_NOHASHDIR": "1",
    }

