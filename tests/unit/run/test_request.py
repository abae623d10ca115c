# SPDX-License-Identifier: GPL-2.0-or-later
"""The command that repeats a request."""

from __future__ import annotations

from pathlib import Path

from harness.core.records import Trees
from harness.plan.selection import select
from harness.run.request import RunRequest, options, reproduce, trees_of


def test_command_that_reproduces_is_what_was_asked(tmp_path: Path) -> None:
    file = tmp_path / "a test.py"
    file.touch()
    request = RunRequest(
        selection=select(
            suites=["smoke"], files=[str(file)], guests=["pv64"], abis=["3l"], keyword="a and b"
        ),
        accelerator="tcg",
        uri="qemu:///system",
        trees=Trees(xen_tree=tmp_path),
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


def test_what_is_built_and_booted_is_repeated_whole(tmp_path: Path) -> None:
    trees = Trees(
        xen="4.20",
        linux="6.12",
        xen_tree=tmp_path / "xen",
        linux_tree=tmp_path / "linux",
        stock=True,
        with_series=True,
        xen_config=(tmp_path / "a.config", tmp_path / "b.config"),
        linux_config=(tmp_path / "c.config",),
    )
    request = RunRequest(
        selection=select(suites=["smoke"]), trees=trees, xen_args="-x sync_console", dom0_args="debug"
    )
    assert reproduce(request) == (
        f"evh run --suite smoke --xen 4.20 --linux 6.12 --xen-tree {tmp_path}/xen "
        f"--linux-tree {tmp_path}/linux --xen-config {tmp_path}/a.config --xen-config {tmp_path}/b.config "
        f"--linux-config {tmp_path}/c.config "
        "--stock --with-series '--xen-args=-x sync_console' --dom0-args=debug"
    )
    kept = options(request)
    assert trees_of(kept) == trees
    assert (kept["xen_args"], kept["dom0_args"]) == ("-x sync_console", "debug")
    assert trees_of({}) == Trees()


def test_order_is_part_of_the_command() -> None:
    assert reproduce(RunRequest(selection=select(), shuffle=7)) == "evh run --shuffle 7"


def test_snapshots_and_order_are_part_of_the_command() -> None:
    request = RunRequest(selection=select(), snapshots=True, shuffle=7)
    assert reproduce(request) == "evh run --snapshots --shuffle 7"
    assert options(request) == {"snapshots": "yes"}
