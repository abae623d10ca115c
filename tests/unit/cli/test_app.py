# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as its user sees it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.plan.suites import SUITES
from harness.run.record import RunRecord
from harness.run.recorder import Recorder, now

ROOT = Path(__file__).parents[3]


@pytest.fixture
def evh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)


COMMANDS = ["run", "build", "boot", "shell", "doctor", "clean", "report"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(evh, command: str) -> None:
    got = evh(command, "--help")
    assert got.exit_code == 0
    assert len(got.output.splitlines()) > 5


def test_help_names_commands_suites_and_exit_codes(evh) -> None:
    text = evh("--help").output
    assert all(command in text for command in COMMANDS)
    assert "5 hang" in " ".join(text.split())
    suites = evh("run", "--help").output
    assert all(name in suites for name in SUITES)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "--suite", "nope"], "unknown suite 'nope'"),
        (["run", "--guest", "pv99"], "unknown guest 'pv99'"),
        (["run", "--abi", "9l"], "unknown abi '9l'"),
        (["run", "no_such_test.py"], "there is no test file no_such_test.py"),
        (["run", "--cell", "x"], "not a cell id"),
        (["run", "--xen-tree", "nowhere"], "--xen-tree nowhere: no such folder"),
        (["run", "--linux-tree", "."], "is not such a source tree: it has no kernel/sched"),
        (["build", "--xen-tree", "nowhere"], "no such folder"),
        (["boot", "--guest", "pv99"], "unknown guest"),
        (["report", "nowhere"], "no run at nowhere"),
        (["report"], "no run under ./runs"),
        (["shell"], "needs a terminal"),
    ],
)
def test_wrong_argument_is_exit_2_with_a_hint_and_no_traceback(evh, args: list[str], message: str) -> None:
    got = evh(*args)
    assert got.exit_code == 2
    assert message in got.stderr
    assert "hint: " in got.stderr
    assert "Traceback" not in got.output
    assert not Path("runs").exists(), "no run was started"


@pytest.mark.parametrize(
    "args", [["run", "--nope"], ["run", "--accel", "hvf"], ["run", "--jobs", "0"], ["nope"]]
)
def test_wrong_option_is_exit_2(evh, args: list[str]) -> None:
    got = evh(*args)
    assert got.exit_code == 2
    assert "Traceback" not in got.output


def test_full_run_dir_is_refused(evh, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    got = evh("run", "--run-dir", "full", "--suite", "core")
    assert got.exit_code == 2
    assert "not empty" in got.stderr


def test_bug_is_exit_4_with_its_traceback() -> None:
    program = (
        "import sys; from harness.cli import app, run; sys.argv = ['evh', 'run']\n"
        "run.select = lambda **w: 1 / 0; app.main()"
    )
    got = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert got.returncode == 4
    assert "ZeroDivisionError" in got.stderr and "bug in the harness" in got.stderr


def test_help_needs_neither_libvirt_nor_paramiko() -> None:
    program = (
        "import sys; sys.modules['libvirt'] = sys.modules['paramiko'] = None\n"
        "from typer.testing import CliRunner; from harness.cli.app import app\n"
        "sys.exit(CliRunner().invoke(app, ['run', '--help']).exit_code)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def make_run(folder: Path, *, state: str = "finished", pid: int = 0) -> None:
    folder.mkdir(parents=True)
    record = RunRecord(
        id=folder.name,
        command=["evh", "run"],
        reproduce="evh run",
        started=now(),
        state=state,
        pid=pid,
    )
    Recorder(run_dir=folder, record=record).save()


def make_store(folder: Path) -> Path:
    store = folder / "cache" / "evtchn-harness"
    (store / "xen" / "abc").mkdir(parents=True)
    (store / "xen" / "abc" / "xen").write_bytes(b"x" * 3_000_000)
    return store / "xen"


def test_clean_removes_runs_and_store_and_nothing_else(evh, tmp_path: Path) -> None:
    xen = make_store(tmp_path)
    make_run(Path("runs/old"))
    make_run(Path("runs/killed"), state="running", pid=0)
    Path("runs/thesis").mkdir()
    Path("runs/thesis/thesis.txt").touch()

    asked = evh("clean")
    assert "2.9 MiB" in asked.output and "runs/old" in asked.output
    assert xen.exists() and Path("runs/old").exists(), "without --yes and a terminal nothing is removed"

    got = evh("clean", "--yes")
    assert got.exit_code == 0
    assert not xen.exists() and sorted(Path("runs").iterdir()) == [Path("runs/thesis")]
    assert Path("runs/thesis/thesis.txt").exists()
    assert "nothing to remove" in evh("clean", "--yes").output


def test_clean_keeps_an_active_run_and_its_store(evh, tmp_path: Path) -> None:
    xen = make_store(tmp_path)
    make_run(Path("runs/old"))
    make_run(Path("runs/live"), state="running", pid=os.getpid())
    refused = evh("clean", "--yes")
    assert refused.exit_code == 2 and "runs/live" in refused.stderr
    assert xen.exists() and Path("runs/old").exists()
    assert evh("clean", "--no-store", "--yes").exit_code == 0
    assert xen.exists() and sorted(Path("runs").iterdir()) == [Path("runs/live")]


def test_clean_refuses_during_a_build(evh, tmp_path: Path) -> None:
    locks = tmp_path / "cache" / "evtchn-harness" / "locks"
    locks.mkdir(parents=True)
    with (locks / "xen-abc").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        got = evh("clean", "--yes")
    assert got.exit_code == 2
    assert "xen-abc" in got.stderr
    assert locks.exists()


def test_report_of_the_newest_run(evh) -> None:
    make_run(Path("runs/a"))
    got = evh("report")
    assert got.exit_code == 0
    assert "report: runs/a/report.html" in got.output.splitlines()[-1]
    assert json.loads(Path("runs/a/run.json").read_text())["id"] == "a"
    assert Path("runs/a/report.html").exists()


def test_signal_during_a_build_is_no_traceback_and_its_own_exit_code(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time; from harness.build import graph; from harness.cli import app\n"
        "def slow(**words):\n    try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)\n"
        "    finally: print('cleaned up')\n"
        "graph.build = slow; sys.argv = ['evh', 'build']; app.main()"
    )
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=30)
    assert got.returncode == 128 + 15
    assert "cleaned up" in got.stdout
    assert "ended by SIGTERM" in got.stderr and "Traceback" not in got.stderr


def test_ignored_sighup_stays_ignored(tmp_path: Path) -> None:
    program = (
        "import os, signal; from harness.core.signals import signals_end_cleanly\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with signals_end_cleanly(print): os.kill(os.getpid(), signal.SIGHUP); print('went on')"
    )
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (got.returncode, got.stdout) == (0, "went on\n")
