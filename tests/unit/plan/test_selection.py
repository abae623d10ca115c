# SPDX-License-Identifier: GPL-2.0-or-later
"""The selection of cells from command-line options, and the command that reproduces it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.records import Abi
from harness.core.text import show_seeds
from harness.plan.cells import EXAMPLE_CELL, Cell
from harness.plan.seeds import parse_seeds
from harness.plan.selection import in_selected_suite, pytest_targets, select
from harness.plan.suites import CORE, SUITES, XTF
from harness.run.request import RunRequest, options, reproduce
from harness.run.run import root_of


def test_nothing_named_is_the_core_plan() -> None:
    assert select().suites == (CORE,)


def test_own_file_alone_runs_no_suite(tmp_path: Path) -> None:
    file = tmp_path / "my_test.py"
    file.touch()
    chosen = select(files=[str(file)])
    assert chosen.suites == ()
    assert pytest_targets(chosen) == [str(file)]
    assert in_selected_suite(chosen, path=file, markers=set())
    assert not in_selected_suite(chosen, path=tmp_path / "other.py", markers={CORE})


def test_single_test_of_an_own_file_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_test.py").touch()
    monkeypatch.chdir(tmp_path)
    chosen = select(files=["my_test.py::test_a[x]"])
    assert pytest_targets(chosen) == [f"{tmp_path}/my_test.py::test_a[x]"]
    assert in_selected_suite(chosen, path=tmp_path / "my_test.py", markers=set())


@pytest.mark.parametrize(
    ("words", "known"),
    [({"suites": ["smok"]}, "smoke"), ({"guests": ["pv32"]}, "pv64"), ({"abis": ["4l"]}, "fifo")],
)
def test_unknown_word_is_refused_with_the_known_ones(words: dict[str, list[str]], known: str) -> None:
    with pytest.raises(UserError) as caught:
        select(**words)  # type: ignore[arg-type]
    assert known in caught.value.hint


def test_missing_file_is_refused_and_a_suites_name_recognised() -> None:
    with pytest.raises(UserError) as caught:
        select(files=["smoke"])
    assert "--suite smoke" in caught.value.hint


@pytest.mark.parametrize(
    "cell",
    [
        EXAMPLE_CELL,
        Cell(base="b", guest="dom0", abi="2l", suite="my", test="test_a[pv64-x/y]", seed=7),
        Cell(
            base="xen-4.20+linux-6.12",
            flavour="debug",
            guest="pvh64",
            abi="fifo",
            suite="limits",
            test="test_a[a::b]",
        ),
    ],
)
def test_cell_id_reads_back(cell: Cell) -> None:
    assert Cell.parse(cell.id) == cell


@pytest.mark.parametrize(
    "text",
    ["", "x", "a/b/c/d/e/1", "a/b/c/d/s::t/x", "a/b//d/s::t/1", EXAMPLE_CELL.id.rpartition("/")[0]],
)
def test_word_that_is_no_cell_id_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not a cell id"):
        Cell.parse(text)


def test_cell_names_its_suite() -> None:
    assert select(cell=EXAMPLE_CELL.id).suites == ("limits",)
    with pytest.raises(UserError, match="already names its suite"):
        select(cell=EXAMPLE_CELL.id, suites=["smoke"])
    with pytest.raises(UserError) as caught:
        select(cell="b/release/dom0/3l/mine::test_a/1")
    assert "Name the file too" in caught.value.hint


def test_filters_keep_what_was_asked_for() -> None:
    cell = Cell(base="b", guest="pv64", abi="fifo", suite="s", test="t")
    assert select().keeps(cell)
    assert select(guests=["pv64", "dom0"], abis=["fifo"]).keeps(cell)
    assert not select(guests=["dom0"]).keeps(cell)
    assert not select(abis=["3l", "2l"]).keeps(cell)


def test_some_guests_of_a_suite_want_to_be_named() -> None:
    cell = Cell(base="b", guest="hvm64", abi="3l", suite="limits", test="t")
    assert not select(suites=["limits"]).keeps(cell)
    assert select(suites=["limits"], guests=["hvm64"]).keeps(cell)
    assert select(cell=cell.id).keeps(cell)
    assert select(suites=["mixed"]).keeps(replace(cell, suite="mixed"))


def test_default_abi_is_the_one_asked_for() -> None:
    assert select().default_abi is Abi.L3
    assert select(abis=["2l"]).default_abi is Abi.L2
    assert select(abis=["2l", "fifo"]).default_abi is Abi.L3


@pytest.mark.parametrize("name", list(SUITES))
def test_every_suite_has_its_tests(name: str) -> None:
    for target in pytest_targets(select(suites=[name], xtf=Path() if name == XTF else None)):
        assert Path(target).exists()


def test_marker_suite_takes_only_marked_tests() -> None:
    chosen = select()
    assert in_selected_suite(chosen, path=Path("x/test_limits.py"), markers={CORE, "machine"})
    assert not in_selected_suite(chosen, path=Path("x/test_limits.py"), markers={"machine"})


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


def test_junit_names_are_paths_below_what_all_files_share(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/one.py", "two.py"):
        (tmp_path / name).touch()
    assert root_of([f"{tmp_path}/a/one.py::test_x[a/b]"]) == tmp_path / "a"
    assert root_of([f"{tmp_path}/a/one.py", f"{tmp_path}/two.py"]) == tmp_path
    assert root_of([str(tmp_path)]) == tmp_path


@pytest.mark.parametrize(
    ("text", "seeds"), [("", ()), ("7", (7,)), ("1-3", (1, 2, 3)), ("3,5-6,3", (3, 5, 6)), ("4-4", (4,))]
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds
    assert parse_seeds(show_seeds(seeds)) == seeds


@pytest.mark.parametrize("text", ["x", "1-", "-1", "3-1", "1,,2", "1-1000000"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_seeds(text)


def test_a_cell_brings_its_seed_and_flavour() -> None:
    cell = Cell(base="b", flavour="ubsan", guest="bare-pv64", abi="3l", suite="smoke", test="t", seed=9)
    chosen = select(cell=cell.id)
    assert (chosen.seeds, chosen.flavour) == ((9,), "ubsan")
    with pytest.raises(UserError):
        select(cell=cell.id, seeds="3")
    with pytest.raises(UserError):
        select(flavour="kasan")


@pytest.mark.parametrize(
    ("flavour", "kept"),
    [
        ("release", {"dom0", "pv64", "pvh32", "bare-pv64", "kunit32"}),
        ("ubsan", {"dom0", "pv64", "pvh32", "bare-pv64", "kunit32"}),
        ("linux-debug", {"dom0", "pv64", "kunit32"}),
        ("linux-kasan", set()),
    ],
)
def test_a_flavour_of_linux_is_not_everywhere(flavour: str, kept: set[str]) -> None:
    chosen = select(suites=["smoke"], flavour=flavour)
    cells = [
        Cell(base="b", flavour=flavour, guest=guest, abi="3l", suite="smoke", test="t")
        for guest in ("dom0", "pv64", "pvh32", "bare-pv64", "kunit32")
    ]
    assert {cell.guest for cell in cells if chosen.keeps(cell)} == kept


def test_command_that_does_it_again_has_seeds_and_flavour() -> None:
    again = reproduce(RunRequest(selection=select(suites=["smoke"], seeds="1-3,9", flavour="debug")))
    assert again == "evh run --suite smoke --seeds 1-3,9 --flavour debug"
