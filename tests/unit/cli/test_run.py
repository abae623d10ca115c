# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `evh run` and `evh report`, as far as they need no machine."""

from __future__ import annotations

import json
from pathlib import Path

from fakes import make_run


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
