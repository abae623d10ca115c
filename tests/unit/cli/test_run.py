# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `evh run` and `evh report`, as far as they need no machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import make_run

from harness.core.paths import CHECKOUT
from harness.core.records import Verdict
from harness.run.judge import EXIT_CODES


def test_full_run_dir_is_refused(evh, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    got = evh("run", "--run-dir", "full", "--suite", "core")
    assert got.exit_code == 2
    assert "not empty" in got.stderr


def test_report_of_the_newest_run(evh) -> None:
    make_run(Path("runs/a"))
    got = evh("report")
    assert got.exit_code == 0
    assert "report: runs/a/report.html" in got.output.splitlines()[-1]
    assert json.loads(Path("runs/a/run.json").read_text())["id"] == "a"
    assert Path("runs/a/report.html").exists()


def test_page_that_cannot_be_written_does_not_hide_the_report(evh) -> None:
    make_run(Path("runs/a"))
    Path("runs/a/report.html.new").mkdir()
    got = evh("report")
    assert got.exit_code == 0
    assert "time: " in got.output and "the page was not written: " in got.stderr


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.HANG])
def test_full_disk_does_not_hide_the_verdict(tmp_path: Path, verdict: Verdict) -> None:
    """/dev/full fails each write with "No space left on device"."""
    program = (
        "from pathlib import Path\n"
        "from harness.cli import app, run; from harness.core.records import Verdict\n"
        "from harness.run.record import RunRecord; from harness.run.recorder import now\n"
        "from harness.run.judge import EXIT_CODES\n"
        "import sys, typer; sys.stdout = app.unread(open('/dev/full', 'w')) if sys.argv[2:] else sys.stdout\n"
        "verdict = Verdict(sys.argv[1])\n"
        "record = RunRecord(id='x', command=[], reproduce='', started=now(), state='finished',\n"
        "    verdict=verdict, exit_code=EXIT_CODES[verdict])\n"
        "Path('report.html.new').symlink_to('/dev/full')\n"
        "try: run.tell_run(Path('.'), record)\n"
        "except typer.Exit as end: code = end.exit_code\n"
        "sys.stdout = None; sys.exit(code)"
    )
    for more, said in (([], "the page was not written"), (["full"], f"the verdict is: {verdict}")):
        command = [sys.executable, "-c", program, verdict, *more]
        env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        got = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert got.returncode == EXIT_CODES[verdict], got.stderr
        assert said in got.stderr and "Traceback" not in got.stderr
        assert not list(tmp_path.glob("report.html*"))
