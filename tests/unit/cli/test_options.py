# SPDX-License-Identifier: GPL-2.0-or-later
"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.options import checked_trees, tell
from harness.core.errors import EvhError, UserError
from harness.core.records import Trees


def test_trees_are_checked_and_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xen/xen/common").mkdir(parents=True)
    (tmp_path / "linux/kernel/sched").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.config").touch()
    given = Trees(xen_tree=Path("xen"), linux_tree=Path("linux"), xen_config=(Path("a.config"),))
    assert checked_trees(given) == Trees(
        xen_tree=tmp_path / "xen", linux_tree=tmp_path / "linux", xen_config=(tmp_path / "a.config",)
    )
    assert checked_trees(Trees()) == Trees()


@pytest.mark.parametrize(
    ("trees", "says"),
    [
        (Trees(linux_config=(Path("none.config"),)), "--linux-config none.config: not a regular file"),
        (Trees(with_series=True), "--with-series is about a tree of your own"),
        (Trees(with_series=True, stock=True, xen_tree=Path("xen")), "contradict"),
    ],
)
def test_options_that_cannot_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trees: Trees, says: str
) -> None:
    (tmp_path / "xen/xen/common").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        checked_trees(trees)


def test_tree_of_the_other_kind_is_refused_by_its_option(tmp_path: Path) -> None:
    (tmp_path / "kernel/sched").mkdir(parents=True)
    with pytest.raises(UserError, match=f"--xen-tree {tmp_path} is not such a source tree: it has no xen/"):
        checked_trees(Trees(xen_tree=tmp_path, linux_tree=tmp_path))


@pytest.mark.parametrize(("hint", "lines"), [("", 1), ("do that", 2)])
def test_error_is_told_with_its_hint_if_it_has_one(
    capsys: pytest.CaptureFixture[str], hint: str, lines: int
) -> None:
    tell(UserError("it is wrong", hint=hint))
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", ["evh: it is wrong", "hint: do that"][:lines])


def test_error_that_quotes_a_console_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    tell(EvhError("dom0: `x` ended:\n\x1b]0;title\x07\x1b[2Jwords", hint="see \x1b[31mred"))
    assert capsys.readouterr().err == "evh: dom0: `x` ended:\nwords\nhint: see red\n"
