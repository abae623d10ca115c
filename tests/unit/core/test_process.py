# SPDX-License-Identifier: GPL-2.0-or-later
"""Running programs: their errors, and that no child process is left behind."""

from __future__ import annotations

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
