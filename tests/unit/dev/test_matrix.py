# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs on several pairs of bases."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import recorded, xen_tree

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Trees
from harness.dev import matrix
from harness.plan.cells import EXAMPLE_CELL
from harness.plan.selection import select
from harness.run.record import RunRecord
from harness.run.request import RunRequest
from harness.source import bases

TOML = """\
component = "{component}"
series = "{series}"
{default}
[[upstream]]
version = "{series}"
url = "https://example.org/x.git"
commit = "{commit}"
"""


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two bases of Xen and two of Linux; the older ones are the default."""
    for component, series in (("xen", "4.20"), ("xen", "4.22"), ("linux", "6.12"), ("linux", "7.2")):
        folder = tmp_path / bases.FOLDERS[component] / series
        folder.mkdir(parents=True)
        default = "default = true" if series in ("4.20", "6.12") else ""
        text = TOML.format(component=component, series=series, default=default, commit="a" * 40)
        (folder / "base.toml").write_text(text)
    monkeypatch.setattr(bases, "CHECKOUT", tmp_path)
    return tmp_path


def test_each_xen_is_run_with_each_linux() -> None:
    chosen = matrix.pairs(Trees(stock=True), xens=["4.22", "4.20", "4.22"], linuxes=["6.12", "7.2"])
    assert [(one.xen, one.linux, one.stock) for one in chosen] == [
        ("4.22", "6.12", True),
        ("4.22", "7.2", True),
        ("4.20", "6.12", True),
        ("4.20", "7.2", True),
    ]
    assert matrix.pairs(Trees(), xens=[], linuxes=[]) == (Trees(),)


def test_a_cell_names_its_pair(tmp_path: Path) -> None:
    cell = replace(EXAMPLE_CELL, base="xen-4.22+linux-6.12")
    assert matrix.pairs(Trees(), xens=[], linuxes=[], cell=cell) == (Trees(xen="4.22", linux="6.12"),)
    own = Trees(xen_tree=xen_tree(tmp_path / "mine"))
    assert matrix.pairs(own, xens=[], linuxes=[], cell=cell) == (replace(own, linux="6.12"),)


@pytest.mark.parametrize(
    ("trees", "words", "says"),
    [
        (Trees(), {"xens": ["4.21"], "linuxes": []}, "no base '4.21' of xen"),
        (Trees(xen_tree=Path("x")), {"xens": ["4.20", "4.22"], "linuxes": []}, "one tree, and --xen names"),
        (Trees(), {"xens": ["4.20", "4.22"], "linuxes": [], "cell": EXAMPLE_CELL}, "one pair"),
    ],
)
def test_what_cannot_be_meant(trees: Trees, words: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        matrix.pairs(trees, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "runs"), [("finished", 2), ("interrupted", 1)])
def test_pairs_are_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, runs: int
) -> None:
    asked: list[RunRequest] = []

    def run(request: RunRequest, *, progress: Progress) -> tuple[Path, RunRecord]:
        asked.append(request)
        record = recorded()
        record.state = state
        return Path("folder"), record

    monkeypatch.setattr(matrix, "run", run)
    shown: list[Path] = []
    done = matrix.run_pairs(
        RunRequest(selection=select(), run_dir=tmp_path),
        matrix.pairs(Trees(), xens=["4.20", "4.22"], linuxes=[]),
        progress=Progress(io.StringIO()),
        show=lambda folder, record: shown.append(folder),
    )
    assert len(done) == len(shown) == runs
    names = ["xen-4.20+linux-6.12", "xen-4.22+linux-6.12"][:runs]
    assert [request.run_dir for request in asked] == [tmp_path / name for name in names]
    assert [request.trees.xen for request in asked] == ["4.20", "4.22"][:runs]
