# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh watch`: run the same cells again after each edit, and print one line for each run.

Each run is an `evh run` of its own, a child process with a run folder, so what is
told here is what that run found; edits while it runs start the next one.
"""

from __future__ import annotations

import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core import paths, process
from harness.core.errors import EvhError, UserError
from harness.core.records import Verdict
from harness.run.record import RUN_JSON, load
from harness.source.trees import content_of

if TYPE_CHECKING:
    from harness.core.progress import Progress

# Milliseconds without an edit before a run begins: an editor, or git, writes several files.
SETTLE_MS = 300
# What runs are made from, of this project.
OURS = ("images", "xen-patches", "guest-patches")
# How many cells a line names.
NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run found.

    Attributes:
        verdict: of the run.
        cells: verdict of each cell.
        folder: its run folder.
        problem: why it could not go on; empty if it could.
        code: its exit code.
    """

    verdict: Verdict
    code: int
    seconds: float
    folder: Path
    problem: str = ""
    cells: Mapping[str, Verdict] = field(default_factory=dict)


def run_once(words: Sequence[str], folder: Path) -> Outcome:
    """Run `evh run WORDS` as a child process; its output goes to ``evh.log`` in the run folder.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C, and the run has ended.
    """
    command = [sys.executable, "-m", "harness", "run", *words, "--run-dir", str(folder)]
    began = datetime.now()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = child.communicate()
    except KeyboardInterrupt:
        child.communicate()  # it has got the signal, too
        raise
    seconds = (datetime.now() - began).total_seconds()
    if not (folder / RUN_JSON).exists():
        return Outcome(
            verdict=Verdict.ERROR, code=child.returncode, seconds=seconds, folder=folder,
            problem=process.tail(said, 3) or f"ended with status {child.returncode}",
        )  # fmt: skip
    (folder / "evh.log").write_text(said)
    _, record = load(folder)
    problem = record.error.message if record.error else ""
    if not problem and not record.planned:
        problem = "nothing was selected"
    return Outcome(
        verdict=record.verdict or Verdict.ERROR,
        code=child.returncode,
        seconds=seconds,
        folder=folder,
        problem=problem,
        cells={test.cell: test.verdict or Verdict.ERROR for test in record.tests},
    )


def line(now: Outcome, before: Outcome | None) -> str:
    """One line on a run, and how it differs from the one before.

    Args:
        before: the last run that got as far as verdicts; None: there is none yet.
    """
    counts = {verdict: sum(one is verdict for one in now.cells.values()) for verdict in Verdict}
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "no verdict"
    what = f"{now.verdict}: {said} in {now.seconds:.1f} s"
    if now.problem:
        what += f"; {now.problem.splitlines()[0]}"
    elif before is not None:
        what += f"; {difference(now.cells, before.cells) or 'as before'}"
    return f"{what}  ({now.folder})"


def difference(now: Mapping[str, Verdict], before: Mapping[str, Verdict]) -> str:
    """Which cells have another verdict than before; empty if none has."""
    parts = []
    for verdict in sorted(Verdict, reverse=True, key=list(Verdict).index):
        fresh = [cell for cell, one in now.items() if one is verdict and before.get(cell, one) is not verdict]
        if fresh:
            parts.append(f"now {verdict}: {_named(fresh)}")
    if new := [cell for cell in now if cell not in before]:
        parts.append(f"new: {_named(new)}")
    if gone := [cell for cell in before if cell not in now]:
        parts.append(f"not run: {_named(gone)}")
    return "; ".join(parts)


def _named(cells: Sequence[str]) -> str:
    """Cells by their tests, which is what differs between those of one command."""
    names = [cell.rpartition("/")[0].rpartition("/")[2] for cell in cells[:NAMED]]
    return ", ".join(names) + (f" and {len(cells) - NAMED} more" if len(cells) > NAMED else "")


def places(files: Sequence[str], trees: Iterable[Path | None]) -> list[Path]:
    """The folders whose files a run depends on: trees, images, patches, and the tests."""
    own = [paths.CHECKOUT / name for name in OURS]
    tests = {Path(name.partition("::")[0]).resolve().parent for name in files} or {paths.SUITES}
    found = [*(tree for tree in trees if tree is not None), *own, *sorted(tests)]
    return [place for place in found if place.is_dir()]


def written(where: Sequence[Path]) -> Iterator[set[tuple[object, str]]]:
    """What is written below some folders, from now on; nothing is missed while nobody asks."""
    import watchfiles

    seen: queue.SimpleQueue[set[tuple[object, str]]] = queue.SimpleQueue()

    def follow() -> None:
        for found in watchfiles.watch(*where, debounce=SETTLE_MS, step=50):
            seen.put({(change, name) for change, name in found})

    threading.Thread(target=follow, name="watch", daemon=True).start()

    def each() -> Iterator[set[tuple[object, str]]]:
        while True:
            found = seen.get()
            while not seen.empty():
                found |= seen.get()
            yield found

    return each()


def edits(
    where: Sequence[Path], trees: Sequence[Path], *, changes: Iterator[set[tuple[object, str]]] | None = None
) -> Iterator[list[str]]:
    """The names of edited files, each time that some were, from now on.

    What a tree ignores, such as objects, is no edit: its content decides.

    Args:
        changes: of watchfiles; for tests.
    """
    source = changes or written(where)
    contents = {tree: _content(tree) for tree in trees}
    return _edits(source, trees, contents)


def _edits(
    source: Iterator[set[tuple[object, str]]], trees: Sequence[Path], contents: dict[Path, str]
) -> Iterator[list[str]]:
    for found in source:
        now = {tree: _content(tree) for tree in trees}
        other = [tree for tree in trees if now[tree] != contents[tree]]
        contents = now
        names = sorted({name for _, name in found})
        if edited := [name for name in names if _counts(Path(name), trees=trees, other=other)]:
            yield edited


def _counts(file: Path, *, trees: Sequence[Path], other: Sequence[Path]) -> bool:
    """Whether a run may depend on a file that was written."""
    if any(tree in file.parents for tree in trees):
        return any(tree in file.parents for tree in other)
    if any(paths.CHECKOUT / name in file.parents for name in OURS):
        return True
    # Beside the tests; a run writes below runs/.
    return file.suffix == ".py" and "runs" not in file.parts


def _content(tree: Path) -> str:
    """Hash of a tree; of one that is just being written, another one each time."""
    try:
        return content_of(tree)
    except EvhError:
        return secrets.token_hex(8)


def watch(
    words: Sequence[str],
    *,
    files: Sequence[str],
    trees: Sequence[Path],
    progress: Progress,
    run: Callable[[Sequence[str], Path], Outcome] = run_once,
    changes: Iterator[list[str]] | None = None,
) -> Outcome:
    """Run, then again after each edit, until Ctrl-C.

    Args:
        words: of `evh run`.
        files: the user's tests among them.
        trees: the user's source trees among them.
        run, changes: for tests.
    Returns: the last run that ended.
    Raises: UserError: Ctrl-C came before the first run had ended.
    """
    where = places(files, trees)
    edited = changes or edits(where, trees)
    last: Outcome | None = None
    before: Outcome | None = None
    names = ", ".join(str(place) for place in where)
    progress.say(f"watching {names}; Ctrl-C ends it")
    try:
        while True:
            folder = paths.RUNS / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            with progress.step("run"):
                last = run(words, folder)
            progress.say(line(last, before))
            before = last if last.cells else before
            found = next(edited, None)
            if found is None:
                break
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            progress.say(f"edited: {found[0]}{more}")
    except KeyboardInterrupt:
        pass
    if last is None:
        raise UserError("no run has ended", hint="`evh run` shows what it does.")
    return last
