# SPDX-License-Identifier: GPL-2.0-or-later
"""The command that repeats a request."""

from __future__ import annotations

from pathlib import Path

from harness.plan.selection import select
from harness.run.request import RunRequest, options, reproduce


def test_command_that_reproduces_is_what_was_asked(tmp_path: Path) -> None:
    file = tmp_path / "a test.py"
    file.touch()
    request = RunRequest(
        selection=select(
            suites=["smoke"], files=[str(file)], guests=["pv64"], abis=["3l"], keyword="a and b"
        ),
        accelerator="tcg",
        uri="qemu:///system",
        xen_tree=tmp_path,
        jobs=2,
    )
    assert reproduce(request) == (
        "evh run --suite smoke --guest pv64 --abi 3l -k 'a and b' --accel tcg "
        f"--connect qemu:///system --xen-tree {tmp_path} '{file}'"
    )
    assert reproduce(RunRequest(selection=select())) == "evh run"
    stress = select(suites=["stress"], seeds="7", minutes=2.5)
    assert reproduce(RunRequest(selection=stress)) == "evh run --suite stress --seeds 7 --minutes 2.5"
    assert options(RunRequest(selection=stress)) == {"minutes": "2.5"}


def test_command_that_does_it_again_has_seeds_and_flavour() -> None:
    again = reproduce(RunRequest(selection=select(suites=["smoke"], seeds="1-3,9", flavour="debug")))
    assert again == "evh run --suite smoke --seeds 1-3,9 --flavour debug"
