# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of a run: new, empty, and locked while it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import process

from harness.core.errors import UserError
from harness.dev.clean import is_run_dir, under_way
from harness.run.folder import run_folder

USES_FOLDER = """
from harness.run.folder import run_folder
with run_folder(folder):
    print("there", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("below", ["", "gdb-1"])
def test_run_folder_is_in_use_from_its_first_moment_to_its_end(tmp_path: Path, below: str) -> None:
    """Before there is any file in it, as of `evh boot`; and however the process ends."""
    run = tmp_path / "run"
    child = process(run / below, USES_FOLDER)
    assert is_run_dir(run / below) and under_way(run)
    child.communicate("go\n")
    assert not under_way(run) and list((run / below).iterdir()) == []
    child = process(run / below, USES_FOLDER)
    child.kill()
    child.communicate()
    assert is_run_dir(run / below) and not under_way(run)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not empty") as caught, run_folder(tmp_path):
        pass
    assert caught.value.hint and [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make the run folder"), run_folder(tmp_path / "file" / "run"):
        pass
