# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress output without a terminal."""

from __future__ import annotations

import io
import re
import threading

import pytest

from harness.core import progress as module
from harness.core.progress import Progress


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_short_steps_are_timed_but_not_shown(out: io.StringIO) -> None:
    progress = Progress(out)
    with progress.step("quick"):
        pass
    assert out.getvalue() == ""
    assert [name for name, _ in progress.timings] == ["quick"]


def test_long_steps_are_shown_while_they_last_and_at_their_end(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET", 0.05)
    monkeypatch.setattr(module, "HEARTBEAT", 0.1)
    progress = Progress(out)
    with progress.step("compile") as step:
        step.update("7 objects")
        assert seen(out, r"\[ +\d+\.\ds\] compile: \d+\.\d+ s, 7 objects\n")
        step.update("9 objects")
        assert seen(out, r"9 objects\n")
    assert out.getvalue().splitlines()[-1].split("] ")[1].startswith("compile: done in ")


def test_a_failure_is_shown_as_one(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.0)
    with pytest.raises(ValueError), Progress(out).step("compile"):
        raise ValueError
    assert "compile: failed after" in out.getvalue()


def test_lines_of_several_threads_stay_whole(out: io.StringIO) -> None:
    progress = Progress(out)

    def talk(name: str) -> None:
        for _ in range(200):
            progress.say(name * 20)

    threads = [threading.Thread(target=talk, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 400
    assert all(re.fullmatch(r"\[ +\d+\.\ds\] (a{20}|b{20})", line) for line in lines)


def test_a_console_that_is_quoted_cannot_write_to_the_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (io.StringIO(), Terminal()):
        Progress(stream).say("  | \x1b]0;title\x07\x1b[2Jlast words\rof a [red]guest")
        assert "  | last wordsof a [red]guest\n" in stream.getvalue()
        assert not {"\x1b", "\x07", "\r"} & set(stream.getvalue())


def test_a_live_line_shows_brackets_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of tests hold brackets, which rich takes for markup."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(module, "QUIET", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with Progress(out).step("test t[pv64-/x]\x1b[2J"):
        assert seen(out, re.escape("test t[pv64-/x]:"))


def seen(out: io.StringIO, pattern: str) -> bool:
    """Whether ``pattern`` shows up within five seconds."""
    pause = threading.Event()
    return any(re.search(pattern, out.getvalue()) or pause.wait(0.02) for _ in range(250))
