# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh watch`: one line for each run, and a run for each edit that matters."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import paths
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.dev.watch import Outcome, difference, edits, line, places, watch

PASS, FAIL, SKIP, CRASH = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.CRASH


def cell(test: str) -> str:
    return f"base/release/bare-pv64/3l/conformance::{test}/1"


def outcome(verdict: Verdict = PASS, problem: str = "", **cells: Verdict) -> Outcome:
    return Outcome(
        verdict=verdict, code=int(verdict is not PASS), seconds=1.25, folder=Path("runs/x"), problem=problem,
        cells={cell(name): one for name, one in cells.items()},
    )  # fmt: skip


def test_line_counts_verdicts_and_names_what_differs() -> None:
    first = outcome(a=PASS, b=PASS, c=SKIP)
    assert line(first, None) == "pass: 2 pass, 1 skip in 1.2 s  (runs/x)"
    assert line(first, first) == "pass: 2 pass, 1 skip in 1.2 s; as before  (runs/x)"
    second = outcome(FAIL, a=FAIL, b=PASS, c=SKIP)
    assert line(second, first) == (
        "fail: 1 pass, 1 skip, 1 fail in 1.2 s; now fail: conformance::a  (runs/x)"
    )
    assert "now pass: conformance::a" in line(first, second)


def test_line_of_a_run_that_did_not_get_far_says_why() -> None:
    broken = outcome(Verdict.ERROR, problem="event_channel.c:7: error: expected ';'\nmore")
    assert line(broken, outcome(a=PASS)) == (
        "error: no verdict in 1.2 s; event_channel.c:7: error: expected ';'  (runs/x)"
    )


def test_difference_names_the_worst_first_and_what_is_new_or_gone() -> None:
    before = outcome(a=PASS, b=PASS, c=PASS, d=FAIL).cells
    now = outcome(a=CRASH, b=FAIL, d=PASS, e=PASS).cells
    words = difference(now, before)
    assert words.split("; ") == [
        "now crash: conformance::a", "now fail: conformance::b", "now pass: conformance::d",
        "new: conformance::e", "not run: conformance::c",
    ]  # fmt: skip
    many = {cell(str(n)): FAIL for n in range(9)}
    assert difference(many, dict.fromkeys(many, PASS)).endswith("conformance::2 and 6 more")


def test_a_run_follows_each_edit_and_a_broken_one_does_not_become_the_reference() -> None:
    runs = [outcome(a=PASS), outcome(Verdict.ERROR, problem="does not compile"), outcome(FAIL, a=FAIL)]
    said = io.StringIO()
    got = []

    def run(words: object, folder: Path) -> Outcome:
        got.append((words, folder.parent))
        return runs[len(got) - 1]

    last = watch(
        ["--suite", "smoke"], files=(), trees=(), progress=Progress(said), run=run,
        changes=iter([["/x/event.c"], ["/x/event.c", "/x/b.c"]]),
    )  # fmt: skip
    assert last is runs[2]
    assert got == [(["--suite", "smoke"], paths.RUNS)] * 3
    lines = said.getvalue()
    assert "edited: /x/event.c and 1 more" in lines
    assert "does not compile" in lines and "now fail: conformance::a" in lines


def test_ctrl_c_ends_it_with_the_last_run_that_ended() -> None:
    def interrupted() -> Iterator[list[str]]:
        raise KeyboardInterrupt
        yield []

    progress = Progress(io.StringIO())
    first = outcome(a=PASS)
    words = {"files": (), "trees": (), "progress": progress}
    assert watch([], run=lambda words, folder: first, changes=interrupted(), **words) is first

    def never(words: object, folder: Path) -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(UserError, match="no run has ended"):
        watch([], run=never, changes=interrupted(), **words)


def test_places_are_trees_ours_and_the_folders_of_the_tests(tmp_path: Path) -> None:
    file = tmp_path / "my_test.py"
    found = places([f"{file}::test_a"], [tmp_path / "nowhere", None])
    assert found == [
        paths.CHECKOUT / "images", paths.CHECKOUT / "xen-patches", paths.CHECKOUT / "guest-patches", tmp_path
    ]  # fmt: skip
    assert paths.SUITES in places([], [])


def test_edit_is_what_a_tree_does_not_ignore(tmp_path: Path) -> None:
    tree = tmp_path / "xen"
    tree.mkdir()
    for command in (["init", "-q"], ["config", "user.email", "x@localhost"], ["config", "user.name", "x"]):
        subprocess.run(["git", "-C", tree, *command], check=True)
    (tree / ".gitignore").write_text("*.o\n")
    (tree / "event.c").write_text("int a;\n")
    subprocess.run(["git", "-C", tree, "add", "."], check=True)
    subprocess.run(["git", "-C", tree, "commit", "-qm", "x"], check=True)

    def changes() -> Iterator[set[tuple[object, str]]]:
        (tree / "event.o").write_text("x")
        yield {(1, str(tree / "event.o"))}
        os.utime(tree / "event.c")
        yield {(1, str(tree / "event.c"))}
        (tree / "event.c").write_text("int b;\n")
        yield {(1, str(tree / "event.c"))}
        yield {(1, str(tmp_path / "runs" / "x" / "a.py")), (1, str(tmp_path / "notes.txt"))}
        yield {(1, str(tmp_path / "test_a.py"))}
        yield {(1, str(paths.CHECKOUT / "images" / "bare" / "main.c"))}

    assert list(edits([tree], [tree], changes=changes())) == [
        [str(tree / "event.c")], [str(tmp_path / "test_a.py")], [str(paths.CHECKOUT / "images/bare/main.c")]
    ]  # fmt: skip


def test_edits_of_real_files_are_noticed(tmp_path: Path) -> None:
    found = edits([tmp_path], [])
    file = tmp_path / "test_a.py"
    time.sleep(2)  # the thread has begun; nobody asks yet
    file.write_text("x")
    time.sleep(1)
    assert next(found) == [str(file)]


def test_the_command_runs_again_after_an_edit_until_ctrl_c(tmp_path: Path) -> None:
    """A mistake in the file is told at once, so nothing has to be built for this."""
    file = tmp_path / "my_test.py"
    file.write_text("def test_a(: pass\n")
    command = [sys.executable, "-m", "harness", "watch", "my_test.py"]
    env = os.environ | {"PYTHONPATH": str(paths.CHECKOUT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with (tmp_path / "said").open("w") as out:
        child = subprocess.Popen(
            command, cwd=tmp_path, env=env, stderr=out, stdout=out, start_new_session=True
        )
    try:
        for number, text in enumerate(("def test_b(: pass\n", "def test_c(: pass\n", "")):
            end = time.monotonic() + 120
            while (tmp_path / "said").read_text().count("a test file cannot be read") <= number:
                assert time.monotonic() < end and child.poll() is None, (tmp_path / "said").read_text()
                time.sleep(0.1)
            if text:
                file.write_text(text)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(60) == 2
    finally:
        child.kill()
        child.wait()
    said = (tmp_path / "said").read_text()
    assert said.count("edited: ") == 2 and "Traceback" not in said
