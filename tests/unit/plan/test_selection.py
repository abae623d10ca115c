# SPDX-License-Identifier: GPL-2.0-or-later
"""The selection of cells from command-line options, and the command that reproduces it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.records import Abi
from harness.plan.cells import EXAMPLE_CELL, Cell
from harness.plan.selection import in_selected_suite, pytest_targets, select
from harness.plan.suites import CORE, XTF


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


def test_marker_suite_takes_only_marked_tests() -> None:
    chosen = select()
    assert in_selected_suite(chosen, path=Path("x/test_limits.py"), markers={CORE, "machine"})
    assert not in_selected_suite(chosen, path=Path("x/test_limits.py"), markers={"machine"})


def test_a_cell_brings_its_seed_and_flavour() -> None:
    cell = Cell(base="b", flavour="ubsan", guest="bare-pv64", abi="3l", suite="smoke", test="t", seed=9)
    chosen = select(cell=cell.id)
    assert (chosen.seeds, chosen.flavour) == ((9,), "ubsan")
    with pytest.raises(UserError):
        select(cell=cell.id, seeds="3")
    with pytest.raises(UserError):
        select(flavour="kasan")


def test_suite_needs_a_checkout(tmp_path: Path) -> None:
    assert select(xtf=tmp_path).suites == (XTF,)
    assert select(suites=["smoke"], xtf=tmp_path).suites == ("smoke", XTF)
    with pytest.raises(UserError):
        select(suites=[XTF])
