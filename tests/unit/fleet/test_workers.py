# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers are real processes here; only what they boot is fake."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from harness.core.errors import EvhError
from harness.core.paths import CHECKOUT
from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.core.signals import Interrupted, signals_end_cleanly
from harness.fleet.workers import run_side_by_side
from harness.plan.selection import select
from harness.plan.shards import parse_shard
from harness.run.collect import collect
from harness.run.planning import load_plan, shard_of
from harness.run.record import RunRecord, load
from harness.run.request import RunRequest

PROGRAM = f"""
import sys
sys.path[:0] = [{str(CHECKOUT)!r}, {str(CHECKOUT / "tests/unit")!r}]
sys.dont_write_bytecode = True
from pathlib import Path
from fakes import fake_backends
from harness.core.progress import Progress
from harness.plan.selection import select
from harness.plan.shards import parse_shard
from harness.run.planning import load_plan, shard_of
from harness.run.request import RunRequest
from harness.run.run import run
words = sys.argv[1:]
given = dict(zip(words[2::2], words[3::2]))
part, path = parse_shard(given["--shard"]), Path(given["--plan"])
request = RunRequest(
    selection=select(files=[words[1]]), shard=part, plan=shard_of(load_plan(path), part, path=path),
    run_dir=Path(given["--run-dir"]))
with Progress(sys.stderr) as progress:
    folder, record = run(request, progress=progress, backends=fake_backends([]))
sys.exit(record.exit_code)
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, RunRecord, str]]:
    """Run the text of a test file by two workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def go(text: str, *, program: tuple[str, ...] = (sys.executable, "-c", PROGRAM), workers: int = 2):
        sys.modules.pop("my_test", None)
        file = tmp_path / "my_test.py"
        file.write_text("import os, time, pytest\n" + textwrap.dedent(text))
        out = io.StringIO()
        with Progress(out) as progress:
            plan = collect(RunRequest(selection=select(files=[str(file)])), progress=progress)
            folder, record = run_side_by_side(
                [str(file)], plan, workers=workers, run_dir=tmp_path / "runs" / "all", progress=progress,
                command=["evh", "run"], reproduce="evh run", program=program,
            )  # fmt: skip
        assert load(folder)[1] == record
        assert sorted(path.name for path in folder.parent.iterdir()) == ["all"], "nothing is left behind"
        return folder, record, out.getvalue()

    return go


def test_cells_run_side_by_side_and_are_listed_in_order(go) -> None:
    _, record, said = go(
        "@pytest.mark.parametrize('n', range(8))\ndef test_it(n): time.sleep(1); assert n != 5\n"
    )
    assert [test.test for test in record.tests] == [f"test_it[{n}]" for n in range(8)]
    assert (record.verdict, record.exit_code, record.error) == (Verdict.FAIL, 1, None)
    assert len(record.parts) == 2 and record.reproduce == "evh run"
    assert record.seconds >= 8, "the sum of the workers' seconds"
    first, second = (part.started for part in record.parts)
    apart = datetime.fromisoformat(second) - datetime.fromisoformat(first)
    assert abs(apart.total_seconds()) < 3, "they ran at the same time"
    assert "1: " in said and "2: " in said and "fail: my_test::test_it[5]" in said


def test_death_of_a_worker_costs_its_own_cells_alone(go) -> None:
    _, record, _ = go(
        "@pytest.mark.parametrize('n', range(6))\n"
        "def test_it(n):\n    if n == 2: os.kill(os.getpid(), 9)\n"
    )
    judged = {test.test for test in record.tests if test.verdict is Verdict.PASS}
    assert (record.verdict, record.exit_code) == (Verdict.ERROR, 4)
    assert len(judged) >= 3 and "test_it[2]" not in judged
    assert "killed: without a verdict" in record.error.message and "test_it[2]" in record.error.message


def test_worker_that_does_not_begin(go) -> None:
    with pytest.raises(EvhError, match="worker 1 ended with exit code 3 before its run began: no such"):
        go("def test_a(): pass\ndef test_b(): pass\n", program=("sh", "-c", "echo no such >&2; exit 3"))


def send_when_begun(folder: Path, number: int, *, count: int) -> threading.Thread:
    """Send this process a signal as soon as so many workers have begun."""

    def wait() -> None:
        for _ in range(600):
            if len(list(folder.glob("begun-*"))) == count:
                break
            time.sleep(0.1)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_signal_ends_all_workers_and_keeps_what_was_judged(go, tmp_path: Path) -> None:
    thread = send_when_begun(tmp_path, signal.SIGTERM, count=2)
    with signals_end_cleanly(print):
        _, record, _ = go(
            f"""
            @pytest.mark.parametrize('n', range(4))
            def test_it(n):
                if n >= 2:
                    open(f"{tmp_path}/begun-{{n}}", "w").close()
                    time.sleep(100)
            """
        )
    thread.join()
    assert (record.state, record.exit_code, record.verdict) == ("interrupted", 143, Verdict.ERROR)
    assert [test.verdict for test in record.tests].count(Verdict.PASS) == 2
    pids = [load(tmp_path / "runs/all" / part.folder)[1].pid for part in record.parts]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_signal_before_a_run_began(go, tmp_path: Path) -> None:
    thread = send_when_begun(tmp_path, signal.SIGINT, count=2)
    sleeper = ("sh", "-c", f"touch {tmp_path}/begun-$$; exec sleep 100")
    with signals_end_cleanly(print), pytest.raises(Interrupted):
        go("def test_a(): pass\ndef test_b(): pass\n", program=sleeper)
    thread.join()


def test_program_gets_the_plan_and_its_shard(go, tmp_path: Path) -> None:
    program = tmp_path / "evh"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/words; cp "$4" {tmp_path}/plan.json; exit 1\n')
    program.chmod(0o755)
    with pytest.raises(EvhError):
        go("def test_a(): pass\ndef test_b(): pass\n", program=(str(program),))
    lines = sorted((tmp_path / "words").read_text().splitlines())
    assert [line.split("--shard ")[1].split()[0] for line in lines] == ["1/2", "2/2"]
    plan = load_plan(tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text())["of"] == 2
    assert [len(shard_of(plan, parse_shard(f"{n}/2"), path=tmp_path).mine) for n in (1, 2)] == [1, 1]
