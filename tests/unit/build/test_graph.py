# SPDX-License-Identifier: GPL-2.0-or-later
"""What is found out before the first compiler runs, on trees that look like Xen and Linux."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fakes import linux_tree, xen_tree

from harness.build import graph
from harness.build.kconfig import Misconfigured
from harness.core.progress import Progress
from harness.core.records import Trees
from harness.source.bases import Base
from harness.store.artifacts import Store

# As little of Kconfig as there can be: what is requested is effective if the tree has the symbol.
CONFIGURES = """
olddefconfig:
\t@grep -e KNOWN $(O)/.config > $(O)/new || :; mv $(O)/new $(O)/.config
tinyconfig:
\t@touch $(O)/.config
%:
\t@touch "$(ROOT)/compiled"; false
"""


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    """A tree of each, whose Makefile leaves a mark when something is compiled."""
    xen, linux = xen_tree(tmp_path / "xen"), linux_tree(tmp_path / "linux")
    for makefile in (xen / "xen/Makefile", linux / "Makefile"):
        makefile.write_text(makefile.read_text() + f"ROOT = {tmp_path}\n" + CONFIGURES)
        makefile.with_name("Kconfig").write_text("config KNOWN\n\tbool\n\nconfig DROPPED\n\tbool\n")
    (xen / "xen/build.mk").touch()  # as since Xen 4.17: the target is called build
    return Trees(xen_tree=xen, linux_tree=linux)


@pytest.fixture(autouse=True)
def no_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fragments that a test gives."""
    monkeypatch.setattr(Base, "fragments", lambda self, **words: ())


def build(trees: Trees, tmp_path: Path, **words: object) -> None:
    graph.build(store=Store(tmp_path / "store"), progress=Progress(io.StringIO()), trees=trees, **words)


def test_all_problems_of_both_trees_are_told_before_anything_is_compiled(
    trees: Trees, tmp_path: Path
) -> None:
    one, two = tmp_path / "x.config", tmp_path / "l.config"
    one.write_text("CONFIG_DROPPED=y\nCONFIG_KNOWN=y\nCONFIG_TYPO=y\nCONFIG_WISH=y # wanted\n")
    two.write_text("CONFIG_OTHER=y\n")
    with pytest.raises(Misconfigured) as caught:
        build(Trees(**{**vars(trees), "xen_config": (one,), "linux_config": (two,)}), tmp_path)
    said = [line.partition(": ")[0] + " " + line.split(": ")[2] for line in caught.value.problems]
    assert said == ["xen CONFIG_DROPPED=y", "xen CONFIG_TYPO=y", "linux CONFIG_OTHER=y"]
    assert not (tmp_path / "compiled").exists()


def test_without_linux_only_xen_is_looked_at(trees: Trees, tmp_path: Path) -> None:
    two = tmp_path / "l.config"
    two.write_text("CONFIG_OTHER=y\n")
    with pytest.raises(Exception, match="build xen"):
        build(Trees(**{**vars(trees), "linux_config": (two,)}), tmp_path, components=())
    assert (tmp_path / "compiled").exists(), "nothing was wrong, so the compiler was started"
