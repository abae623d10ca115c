# SPDX-License-Identifier: GPL-2.0-or-later
"""A boot without libvirt: its recorded console, its deadline, and how that follows the host's speed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.core import paths
from harness.core.records import Verdict
from harness.machine import direct
from harness.machine.direct import Milestone, Watched
from harness.monitor.waits import ConsoleLost


def watch(script: str, folder: Path, **words: Any) -> Watched:
    words = {"deadline": 20.0, "milestone": Milestone(line="fir.t", seconds=20.0)} | words
    return direct.watch(["sh", "-c", script], folder=folder, console=folder / "console.log", **words)


def test_console_is_in_its_file_while_the_machine_runs(tmp_path: Path) -> None:
    """A killed run must keep the console so far."""
    console = tmp_path / "console.log"
    done = watch(f"echo first; while ! grep -q first '{console}'; do :; done; echo second", tmp_path)
    assert (done.lines, done.problem, done.late) == (["first\n", "second\n"], "", "")
    assert console.read_text() == "first\nsecond\n"


def test_deadline_ends_it_and_the_console_stays(tmp_path: Path) -> None:
    done = watch("echo first; exec sleep 100", tmp_path, deadline=0.5)
    assert (done.lines, done.problem, done.time_scale) == (["first\n"], "", 1.0)
    assert done.late == "0 s" or done.late == "1 s"
    assert (tmp_path / "console.log").read_text() == "first\n"


def test_deadline_grows_with_the_time_that_the_milestone_took(tmp_path: Path) -> None:
    """The reference host would have needed half a second for it, this one takes one."""
    words = {"milestone": Milestone(line="first", seconds=0.5)}
    begin = "echo boot; sleep 1; echo first; "
    done = watch(f"{begin} sleep 1; echo second", tmp_path, deadline=1.5, **words)
    assert (done.lines, done.late) == (["boot\n", "first\n", "second\n"], "")
    assert 2.0 <= done.time_scale < 4.0
    done = watch(f"{begin} exec sleep 100", tmp_path, deadline=1.0, **words)
    assert "(1 s at reference speed, times 2." in done.late
    assert 2.0 <= done.seconds < 10


def test_a_milestone_that_never_comes_has_a_deadline_too(tmp_path: Path) -> None:
    words = {"milestone": Milestone(line="first", seconds=0.02)}
    done = watch("echo boot; exec sleep 100", tmp_path, deadline=0.1, **words)
    assert (done.lines, done.time_scale, done.late) == (["boot\n"], 1.0, "1 s (it is still booting)")
    done = watch("echo boot; sleep 1; echo end", tmp_path, deadline=20, **words)
    assert (done.lines, done.late) == (["boot\n", "end\n"], "")


def test_no_qemu_outlives_a_killed_harness_even_if_it_ignores_sigterm(tmp_path: Path) -> None:
    script = tmp_path / "qemu"
    script.write_text("trap '' TERM; echo $$; while :; do sleep 0.1; done")
    code = (
        "import sys; from pathlib import Path; from harness.machine.direct import Milestone, watch; "
        f"folder = Path({str(tmp_path)!r}); "
        "watch(['sh', 'qemu'], folder=folder, console=folder / 'console.log', deadline=60,"
        " milestone=Milestone(line='x', seconds=60))"
    )
    harness = subprocess.Popen([sys.executable, "-c", code], cwd=paths.CHECKOUT)
    console, end = tmp_path / "console.log", time.monotonic() + 20
    while not (console.exists() and console.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.05)
    qemu = os.pidfd_open(int(console.read_text()))
    harness.kill()
    harness.wait()
    try:
        assert select.select([qemu], [], [], 10)[0]
    finally:
        os.close(qemu)


def test_a_qemu_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.core.process.GRACE", 0.5)
    begin = time.monotonic()
    done = watch("trap '' TERM; echo first; while :; do sleep 0.1; done", tmp_path, deadline=0.5)
    assert done.late and not done.problem
    assert time.monotonic() - begin < 10


def test_console_is_recorded_byte_for_byte(tmp_path: Path) -> None:
    done = watch(r"printf 'a\r\n\377\000\n\033[2Jlast'", tmp_path)
    assert (tmp_path / "console.log").read_bytes() == b"a\r\n\xff\x00\n\x1b[2Jlast"
    assert (len(done.lines), done.problem, done.late) == (3, "", "")


def test_console_that_cannot_be_written_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "console.log").symlink_to("/dev/full")
    with pytest.raises(ConsoleLost, match=r"cannot write .*console\.log: No space left") as caught:
        watch("echo; exec sleep 60", tmp_path)
    assert caught.value.verdict is Verdict.ERROR and caught.value.hint
