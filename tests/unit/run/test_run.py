# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run hands to pytest."""

from __future__ import annotations

from pathlib import Path

from harness.run.run import root_of


def test_junit_names_are_paths_below_what_all_files_share(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/one.py", "two.py"):
        (tmp_path / name).touch()
    assert root_of([f"{tmp_path}/a/one.py::test_x[a/b]"]) == tmp_path / "a"
    assert root_of([f"{tmp_path}/a/one.py", f"{tmp_path}/two.py"]) == tmp_path
    assert root_of([str(tmp_path)]) == tmp_path
