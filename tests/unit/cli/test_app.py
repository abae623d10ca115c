# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line as its user sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import make_run

from harness.core.paths import CHECKOUT
from harness.plan.suites import SUITES

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


def test_bug_is_exit_4_with_its_traceback() -> None:
    program = (
        "import sys; from harness.cli import app, run; sys.argv = ['evh', 'run']\n"
        "run.select = lambda **w: 1 / 0; app.main()"
    )
    got = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert got.returncode == 4
    assert "ZeroDivisionError" in got.stderr and "bug in the harness" in got.stderr


def test_help_needs_neither_libvirt_nor_paramiko() -> None:
    program = (
        "import sys; sys.modules['libvirt'] = sys.modules['paramiko'] = None\n"
        "from typer.testing import CliRunner; from harness.cli.app import app\n"
        "sys.exit(CliRunner().invoke(app, ['run', '--help']).exit_code)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT).returncode == 0


def as_program(folder: Path, *args: str, **words: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(CHECKOUT), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "harness", *args]
    return subprocess.run(command, cwd=folder, env=env, text=True, timeout=60, **words)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("args", [("report", "run"), ("doctor",), ("--help",), ("clean",)])
def test_reader_that_goes_away_changes_nothing(tmp_path: Path, args: tuple[str, ...]) -> None:
    """`evh report | true` is quiet and has the exit code that it has with a reader."""
    make_run(tmp_path / "run")
    read, write = os.pipe()
    os.close(read)
    got = as_program(tmp_path, *args, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    whole = as_program(tmp_path, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert got.stderr == whole.stderr
    assert got.returncode == whole.returncode


def test_letter_that_the_terminal_lacks_is_no_error(tmp_path: Path) -> None:
    make_run(tmp_path / "run", note="\N{SNOWMAN}")
    env = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "harness", "report", "run"]
    got = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert got.returncode == 0, got.stderr
    assert r"\u2603" in got.stdout
