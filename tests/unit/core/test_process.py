# SPDX-License-Identifier: GPL-2.0-or-later
"""Running programs: their errors, and that no child process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core import process
from harness.core.errors import InfraError, UserError


def alive(pid: int) -> bool:
    """Whether a process is running (a zombie is not)."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_output_goes_to_log_lines_and_result(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "build.log"
    out = process.run(["sh", "-c", "echo one; echo two >&2"], what="x", log=log, on_line=lines.append)
    assert out == "one\ntwo\n" and lines == ["one\n", "two\n"]
    assert log.read_text() == "$ sh -c echo one; echo two >&2\none\ntwo\n"


def test_failure_says_what_and_shows_the_end() -> None:
    with pytest.raises(UserError, match="could not build it: sh ended with status 3\nlast words") as caught:
        process.run(["sh", "-c", "echo last words; exit 3"], what="build it", error=UserError, hint="mend it")
    assert caught.value.hint == "mend it"


def test_the_first_compiler_error_is_shown_though_much_follows() -> None:
    script = "echo 'a.c:7: error: no such thing'; for i in $(seq 100); do echo noise $i; done; exit 2"
    with pytest.raises(InfraError, match=r"a\.c:7: error: no such thing"):
        process.run(["sh", "-c", script], what="build it")


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(InfraError, match="no-such-program is not installed") as caught:
        process.need("no-such-program", package="some-package")
    assert "some-package" in caught.value.hint


def test_an_interrupt_stops_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(
            ["sh", "-c", f"sleep 60 & echo $! > {pids}; echo go; wait"], what="x", on_line=interrupt
        )
    wait_for(lambda: not alive(int(pids.read_text())))


def test_no_program_outlives_a_sigkill(tmp_path: Path) -> None:
    """The kernel sends SIGTERM to make and other children when the harness is killed."""
    pid = tmp_path / "pid"
    code = (
        "from harness.core import process as proc; "
        f"proc.run(['sh', '-c', 'echo $$ > {pid}; exec sleep 60'], what='x')"
    )
    harness = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: pid.exists() and pid.read_text().strip())
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    wait_for(lambda: not alive(int(pid.read_text())))


def test_a_stopped_scope_starts_nothing() -> None:
    with process.children() as scope:
        scope.stop()
        with pytest.raises(process.Cancelled):
            process.run(["true"], what="x")
        with pytest.raises(process.Cancelled):
            process.pause(60)


STUBBORN = "trap '' TERM; echo go; while :; do sleep 0.1; done"


def test_a_program_that_ignores_sigterm_is_killed_after_a_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    begin = time.monotonic()
    with process.children() as scope, pytest.raises(process.Cancelled):
        process.run(["sh", "-c", STUBBORN], what="x", on_line=lambda _: scope.stop())
    assert 0.5 <= time.monotonic() - begin < 10


def test_an_interrupt_kills_those_that_ignore_sigterm_though_their_parent_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    pid = tmp_path / "pid"

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    stubborn = tmp_path / "stubborn"
    stubborn.write_text(f"echo $$ > {pid}; {STUBBORN}")
    script = f"sh {stubborn} & wait"
    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", "-c", script], what="x", on_line=interrupt)
    wait_for(lambda: not alive(int(pid.read_text())))


def test_one_that_cannot_be_killed_is_given_up_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL does nothing to a process in state D; here it never gets one."""
    monkeypatch.setattr(process, "GRACE", 0.5)
    sent = process.signal_group
    left: list[subprocess.Popen[bytes]] = []

    def weak(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
        left.append(child)
        if number != signal.SIGKILL:
            sent(child, number)

    monkeypatch.setattr(process, "signal_group", weak)
    with process.children() as scope, pytest.raises(InfraError, match="was killed and does not end"):
        process.run(["sh", "-c", STUBBORN], what="x", on_line=lambda _: scope.stop())
    sent(left[0], signal.SIGKILL)
    left[0].wait(10)


def test_what_left_the_group_and_holds_the_output_does_not_hold_the_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    pid = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid}; echo go; exec sleep 60' & wait"
    try:
        with process.children() as scope, pytest.raises(process.Cancelled):
            process.run(["sh", "-c", script], what="x", on_line=lambda _: scope.stop())
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_program_with_nothing_to_tidy_up_is_killed_with_the_harness(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "from harness.core import process as proc; "
        f"proc.run(['sh', '-c', 'trap \"\" TERM; echo $$ > {pid}; while :; do sleep 0.1; done'], what='x',"
        " death_signal='KILL')"
    )
    harness = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: pid.exists() and pid.read_text().strip())
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    wait_for(lambda: not alive(int(pid.read_text())))


def test_a_compiler_on_a_full_disk_is_no_fault_of_the_user() -> None:
    with pytest.raises(InfraError) as caught:
        process.run(
            ["sh", "-c", "cat /proc/version > /dev/full"], what="compile", error=UserError, hint="correct it."
        )
    assert "No space left on device" in caught.value.message and "evh clean" in caught.value.hint

