# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make timing` measures: one row each, one measurement a function of the checkout.

A row runs the commands that a user runs, in the checkout that is measured, with its own
.venv. What it times is what its text says; building what is not part of that is done
before, by ``prepare``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A checkout to be measured.

    Attributes:
        path: the work tree; ``make setup`` has been run in it.
        work: folder for what its rows leave; on the same disk for both checkouts.
    """

    path: Path
    work: Path


class Failed(Exception):
    """A command of a row failed, so the row has no figure."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of docs/timing.md.

    Attributes:
        what: what is measured, as in the issue.
        unit: of the figures: ``s`` or ``MiB``.
        goal: the most that the head's figure may be of the base's; with ``absolute``, the figure itself.
        measure: takes one measurement.
        prepare: called once for each checkout before the rounds.
    """

    what: str
    unit: str = "s"
    goal: float
    absolute: bool = False
    measure: Callable[[Checkout], float]
    prepare: Callable[[Checkout], object] = field(default=lambda checkout: None)


# Parts of rows.


def evh(
    checkout: Checkout, *words: str | Path, env: dict[str, str] | None = None
) -> tuple[float, dict[str, Any]]:
    """Run `evh run WORDS` in a fresh run folder.

    Returns: seconds of the whole command, and its run.json.
    Raises: Failed: it did not pass.
    """
    folder = checkout.work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    command = [checkout.path / ".venv/bin/evh", "run", *words, "--run-dir", folder]
    seconds = timed(checkout, command, env=env)
    return seconds, json.loads((folder / "run.json").read_text())


def timed(checkout: Checkout, command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> float:
    """Seconds that a command takes.

    Raises: Failed: it ends with another status than 0.
    """
    log = checkout.work / "timing.log"
    began = time.monotonic()
    with log.open("ab") as out:
        done = subprocess.run(
            command, cwd=checkout.path, env={**os.environ, **(env or {})}, stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))} ended with status {done.returncode}; see {log}")
    return time.monotonic() - began


def suite(*words: str) -> Callable[[Checkout], float]:
    """Measure: `evh run WORDS`, from the command to its end."""
    return lambda checkout: evh(checkout, *words)[0]


def run_once(*words: str) -> Callable[[Checkout], object]:
    """Prepare: run it once, so that all is built, and what can be kept of it is."""
    return lambda checkout: evh(checkout, *words)


ONE_TEST = """
import pytest
pytestmark = pytest.mark.machine(memory_mib=3072, dom0_mib=1024)
def test_dom0(dom0):
    dom0.run("true", timeout=30)
@pytest.mark.cell(guest="{kind}", abi="3l")
def test_guest(start_guest):
    start_guest(name="a", kind="{kind}", abi="3l").ssh.run("true", timeout=30)
"""


def test_file(checkout: Checkout, kind: str) -> Path:
    path = checkout.work / f"test_{kind}.py"
    path.write_text(ONE_TEST.format(kind=kind))
    return path


def machine(checkout: Checkout) -> float:
    """From QEMU's start to dom0's first SSH answer, by run.json."""
    _, record = evh(checkout, test_file(checkout, "pv64"), "-k", "test_dom0")
    (entry,) = record["machines"]
    return float(entry.get("restore_seconds") or entry["boot_seconds"])


def guest(kind: str) -> Callable[[Checkout], float]:
    """From the command that starts a guest to its first SSH answer, by run.json."""

    def measure(checkout: Checkout) -> float:
        _, record = evh(checkout, test_file(checkout, kind), "-k", "test_guest")
        (seconds,) = (one["seconds"] for one in record["timings"] if one["step"] == "start guest a")
        return float(seconds)

    return measure


def memory(checkout: Checkout) -> float:
    """The most memory that a QEMU had that ran one machine, in MiB."""
    file = checkout.work / "test_memory.py"
    file.write_text(
        "import re, subprocess\nfrom pathlib import Path\n"
        "def test_a(dom0, machine):\n"
        "    pid = subprocess.check_output(['pgrep', '-f', f'guest={machine.name},'], text=True).split()[0]\n"
        "    text = Path(f'/proc/{pid}/status').read_text()\n"
        f"    Path({str(checkout.work / 'peak')!r}).write_text(re.search(r'VmHWM:\\s+(\\d+)', text)[1])\n"
    )
    evh(checkout, file)
    return int((checkout.work / "peak").read_text()) / 1024


def edited(tree: Path, file: str, line: str) -> None:
    """Change one line of a tree: another one each time."""
    path = tree / file
    text = path.read_text()
    head, mark, tail = text.partition(line)
    if not mark:
        raise Failed(f"{path} has no {line!r}")
    path.write_text(f"{head}/* edit {time.monotonic_ns()} */ {mark}{tail}")


def own_tree(checkout: Checkout, name: str) -> Path:
    """A copy of the newest tree in the store, whose series is applied."""
    tree = checkout.work / f"tree-{name}"
    if not tree.exists():
        found = sorted((cache() / "trees").glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise Failed(f"the store has no tree of {name}; run `evh build` first")
        shutil.copytree(found[-1], tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    return tree


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evtchn-harness"


def edit_of_xen(checkout: Checkout) -> float:
    """From an edit of one line of Xen to the verdicts of the bare PV guest's conformance tests."""
    tree = own_tree(checkout, "xen")
    edited(tree, "xen/common/event_channel.c", "int evtchn_send(")
    words = ("--suite", "conformance", "--guest", "bare-pv64", "--xen-tree", tree)
    seconds, record = evh(checkout, *words)
    passed = [test for test in record["tests"] if test["verdict"] == "pass"]
    if not passed:
        raise Failed("no test of the bare guest passed")
    return seconds


def edit_of_linux(checkout: Checkout) -> float:
    """From an edit of one line of events_3l.c to the verdict of a dom0 cell."""
    tree = own_tree(checkout, "linux")
    edited(tree, "drivers/xen/events/events_3l.c", "#include <linux/")
    words = ("--suite", "smoke", "--guest", "dom0", "--abi", "3l", "-k", "test_few_channels")
    return evh(checkout, *words, "--linux-tree", tree)[0]


def cold(checkout: Checkout) -> float:
    """`evh run` with an empty store."""
    store = checkout.work / "cold"
    shutil.rmtree(store, ignore_errors=True)
    return evh(checkout, env={"XDG_CACHE_HOME": str(store), "CCACHE_DISABLE": "1"})[0]


def disk(checkout: Checkout) -> float:
    """MiB that a store takes after one `evh run` into it, with all that the run keeps."""
    store = checkout.work / "cold"
    if not store.is_dir():
        cold(checkout)
    files = [path for path in store.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_blocks * 512 for path in files) / (1 << 20)


BARE = ("conformance", "race", "abuse", "domains", "dump", "bench")
BARE_WORDS = [word for name in BARE for word in ("--suite", name)]

ROWS = {
    "machine": Row(
        what="a clean machine with dom0 at SSH (restored where it can be)", goal=0.25,
        measure=machine, prepare=machine,
    ),
    "guest-pv64": Row(
        what="a pv64 guest that answers over SSH, started", goal=0.6,
        measure=guest("pv64"), prepare=guest("pv64"),
    ),
    "guest-pvh64": Row(
        what="a pvh64 guest that answers over SSH, started", goal=0.6,
        measure=guest("pvh64"), prepare=guest("pvh64"),
    ),
    "run": Row(what="`make run` again", goal=0.35, measure=suite(), prepare=run_once()),
    "smoke": Row(
        what="`--suite smoke`", goal=0.5, measure=suite("--suite", "smoke"),
        prepare=run_once("--suite", "smoke"),
    ),
    "limits": Row(
        what="`--suite limits`", goal=0.5, measure=suite("--suite", "limits"),
        prepare=run_once("--suite", "limits", "-k", "raw"),
    ),
    "lifecycle": Row(
        what="`--suite lifecycle`", goal=0.5, measure=suite("--suite", "lifecycle"),
        prepare=run_once("--suite", "smoke"),
    ),
    "bare": Row(
        what="the bare suites", goal=0.5, measure=suite(*BARE_WORDS),
        prepare=run_once("--suite", "conformance", "--guest", "bare-pv64"),
    ),
    "edit-xen": Row(
        what="an edit of one line of Xen, to the verdicts of `--suite conformance --guest bare-pv64`",
        goal=0.5, measure=edit_of_xen, prepare=edit_of_xen,
    ),
    "edit-linux": Row(
        what="an edit of one line of Linux (events_3l.c), to the verdict of a dom0 cell",
        goal=60, absolute=True, measure=edit_of_linux, prepare=edit_of_linux,
    ),
    "cold": Row(what="`make run`, nothing cached (no ccache)", goal=0.75, measure=cold),
    "disk": Row(what="disk that a store takes after `make run`", unit="MiB", goal=0.75, measure=disk),
    "memory": Row(
        what="RAM of QEMU for one machine", unit="MiB", goal=1.0, measure=memory, prepare=memory,
    ),
    "test": Row(
        what="`make test`, store filled; each side its own tests", goal=0.4,
        measure=lambda checkout: timed(checkout, ["make", "test"]),
        prepare=lambda checkout: timed(checkout, [checkout.path / ".venv/bin/evh", "build"]),
    ),
}  # fmt: skip
