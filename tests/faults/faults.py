# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of `evh` into which a fault is injected, and what became of each."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A test's own text begins with this. It runs in the harness' process, so it can reach everything.
PRELUDE = """
import os, signal, subprocess, time
from pathlib import Path
import pytest

def injected():
    Path("injected").write_text(str(time.time()))

def qemu_of(machine):
    '''The pid of a machine's QEMU.'''
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"guest={machine.name},".encode() in entry.read_bytes():
                return int(entry.parent.name)
        except OSError:
            pass
    raise AssertionError("no QEMU")

@pytest.mark.machine(memory_mib=1536, dom0_mib=768)
"""
_VERDICT = re.compile(r"\[ *[\d.]+s\] (pass|fail|crash|hang|error|skip)(?: \(([^)]+)\))?: ")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        fault: what was done.
        verdict: of the cell or the run, with the layer.
        why: the reason that was given.
        seconds: from the fault to the verdict.
        left: what was left behind; empty for nothing.
    """

    fault: str
    verdict: str
    why: str
    seconds: float
    left: str


class Fault:
    """One run with a fault.

    Args:
        folder: the run's current folder.
        cache: the store's parent folder (XDG_CACHE_HOME).
        rows: gets the row of this fault.
    """

    def __init__(self, folder: Path, cache: Path, rows: list[Row]) -> None:
        self.folder, self.cache, self.rows = folder, cache, rows
        self.env: dict[str, str] = {"XDG_CACHE_HOME": str(cache)}
        self.said: list[tuple[float, str]] = []  # lines on stderr, with their time
        self._at = 0.0
        self._children: list[subprocess.Popen[str]] = []

    # Doing.

    def start(self, *args: str, body: str = "") -> subprocess.Popen[str]:
        """Start `evh`, with a test file of its own if `body` is given."""
        words = list(args)
        if body:
            (self.folder / "my_test.py").write_text(PRELUDE.lstrip() + textwrap.dedent(body).lstrip())
            words += ["my_test.py"]
        child = subprocess.Popen(
            [sys.executable, "-m", "harness", *words], cwd=self.folder, env=os.environ | self.env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._children.append(child)

        def listen() -> None:
            assert child.stderr is not None
            for line in child.stderr:
                self.said.append((time.time(), line.rstrip("\n")))

        threading.Thread(target=listen, daemon=True).start()
        return child

    def run(self, *args: str, body: str = "", timeout: float = 600) -> subprocess.Popen[str]:
        """Run `evh` to its end."""
        child = self.start(*args, body=body)
        self.wait(child, timeout=timeout)
        return child

    def wait(self, child: subprocess.Popen[str], *, timeout: float = 600) -> str:
        """Wait for the end of `evh`; returns its stdout. It must end by itself."""
        assert child.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(timeout, give_up)
        timer.start()
        out = child.stdout.read()
        child.wait()
        timer.cancel()
        assert not late.is_set(), f"evh has not ended after {timeout:.0f} s:\n{self.text()}"
        return out

    def until(self, what: str, *, doing: str, child: subprocess.Popen[str], timeout: float = 300) -> None:
        """Wait until run.json says that a step is under way."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert child.poll() is None, f"evh ended before {what}:\n{self.text()}"
            if self.record().get("doing", "").startswith(doing):
                return
            time.sleep(0.02)
        raise AssertionError(f"evh has not begun {what}:\n{self.text()}")

    def injected(self) -> None:
        """The fault happens now."""
        self._at = time.time()

    # Seeing.

    def text(self) -> str:
        return "\n".join(line for _, line in self.said)

    def record(self) -> dict[str, Any]:
        """run.json of the newest run; empty if there is none."""
        found = sorted(self.folder.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime_ns)
        try:
            return json.loads(found[-1].read_text()) if found else {}
        except (OSError, ValueError):
            return {}

    def left_behind(self, *, within: float = 15.0) -> str:
        """What this run has left on the host: QEMU, mounts, locks, half artifacts."""
        end = time.monotonic() + within
        while (left := self._left()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def _left(self) -> str:
        found = [f"QEMU {pid}" for pid in self._qemus()]
        mounts = Path("/proc/self/mounts").read_text()
        runs = f" {self.folder}/runs/"
        found += [f"mount {line.split()[1]}" for line in mounts.splitlines() if runs in line]
        found += [f"overlay {path.name}" for path in self.folder.rglob("*.qcow2")]
        store = self.cache / "evtchn-harness"
        found += [f"half artifact {path.name}" for path in store.glob("*/.make-*")]
        found += [f"lock {path.name}" for path in store.glob("**/*.lock") if _held(path)]
        return ", ".join(found)

    def _qemus(self) -> list[str]:
        pids = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
                state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            mine = str(self.folder).encode() in b" ".join(words)
            if b"qemu" in words[0] and mine and state != "Z":
                pids.append(path.parent.name)
        return pids

    # Judging.

    def expect(
        self,
        fault: str,
        *,
        verdict: str,
        layer: str | None = None,
        words: str = "",
        within: float,
        test: int = 0,
    ) -> None:
        """Check what became of the fault, and add the row to the table.

        Args:
            verdict, layer: of the run's cell number `test`, or of the run if it has no cells.
                No layer: any.
            words: regular expression that the reason must contain.
            within: seconds from the fault until the verdict.
        """
        record = self.record()
        cells = record.get("tests") or []
        if cells:
            got, whose, why = cells[test]["verdict"], cells[test]["layer"], cells[test]["reason"]
        else:
            error = record.get("error") or {}
            got, whose, why = record.get("verdict"), "", error.get("message", "")
        stamp = self.folder / "injected"
        at = float(stamp.read_text()) if stamp.exists() else self._at
        given = [when for when, line in self.said if _VERDICT.match(line) and when >= at]
        seconds = (given[0] if given else time.time()) - at
        left = self.add(fault, f"{got} ({whose})" if whose else str(got), why, seconds=seconds)
        assert got == verdict and layer in (None, whose), f"{got} ({whose}): {why}\n{self.text()}"
        assert re.search(words, why), f"{why}\n{self.text()}"
        assert seconds <= within, f"{seconds:.1f} s\n{self.text()}"
        assert left == "", left
        assert "Traceback" not in self.text(), self.text()

    def add(self, fault: str, verdict: str, why: str, *, seconds: float | None = None) -> str:
        """Add a row to the table, and return what was left behind."""
        left = self.left_behind()
        took = time.time() - self._at if seconds is None else seconds
        self.rows.append(Row(fault=fault, verdict=verdict, why=why, seconds=took, left=left))
        return left

    def clean_up(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()


def _held(path: Path) -> bool:
    """Whether a process holds a lock on a file."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def table(rows: list[Row]) -> str:
    """The rows as a table for docs/faults.md."""
    lines = ["| fault | verdict | seconds | left behind | the reason, as given |", "|---|---|---|---|---|"]
    for row in rows:
        why = re.sub(r"/\S+/", ".../", " ".join(row.why.split())).replace("|", "\\|")  # folders of this run
        why = why if len(why) <= 160 else f"{why[:157]}..."
        lines.append(
            f"| {row.fault} | {row.verdict} | {row.seconds:.1f} | {row.left or 'nothing'} | {why} |"
        )
    return "\n".join(lines) + "\n"
