# SPDX-License-Identifier: GPL-2.0-or-later
"""Who uses a folder is known by a held lock, between real processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fakes import process

from harness.core.locks import IN_USE, alone, in_use, sharing, using

CLEANS = """
from harness.core.locks import alone
with alone(folder) as user:
    print("there", flush=True)
    sys.stdin.readline()
"""


def test_user_waits_until_the_folder_is_removed(tmp_path: Path) -> None:
    cleaner = process(tmp_path, CLEANS)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        cleaner.communicate("go\n")

    with sharing(tmp_path, say=say):
        assert cleaner.returncode == 0
    assert f"is being removed or tidied up by pid {cleaner.pid}" in said[0]


def test_folder_that_cannot_be_written_is_used_without_a_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with sharing(tmp_path / "file" / "store", say=print):
        pass


def test_all_who_share_are_named_to_the_one_who_wants_to_be_alone(tmp_path: Path) -> None:
    with sharing(tmp_path, say=print), sharing(tmp_path, say=print), alone(tmp_path) as user:
        assert user.count(f"pid {os.getpid()} (") == 2
    with alone(tmp_path) as user:
        assert user == ""


def test_a_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    """QEMU may outlive a killed run for a moment; its folder is not in use."""
    with using(tmp_path):
        assert in_use(tmp_path)
        child = subprocess.Popen(["sleep", "60"])
    assert not in_use(tmp_path)
    child.kill()
    child.wait()


def test_a_folder_without_a_lock_or_without_its_holder_is_not_in_use(tmp_path: Path) -> None:
    assert not in_use(tmp_path) and not in_use(tmp_path / "missing")
    (tmp_path / IN_USE).touch()
    assert not in_use(tmp_path)
