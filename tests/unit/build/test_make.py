# SPDX-License-Identifier: GPL-2.0-or-later
"""The real make, in a folder with a small Makefile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.build import make as making
from harness.build.make import Make, object_folder
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Source, Tree

MAKEFILE = """\
all:
\t@echo '  CC      a.o'; echo '  AS      b.o'; echo '  LD      vmlinux'
goal:
\t@echo "$(WORD) $$FIXED" > said
broken:
\t@echo 'a.c:7: error: no such thing' >&2; exit 1
"""


def make(folder: Path, progress: Progress) -> Make:
    (folder / "Makefile").write_text(MAKEFILE)
    return Make(
        ["WORD=w"], cwd=folder, log=folder / "build.log", jobs=2, progress=progress, name="xen",
        env={"FIXED": "f"},
    )  # fmt: skip


def test_arguments_and_environment_reach_make(tmp_path: Path) -> None:
    make(tmp_path, Progress(io.StringIO()))("goal", "WORD=other")
    assert (tmp_path / "said").read_text() == "other f\n"
    assert "-j2 WORD=w goal WORD=other" in (tmp_path / "build.log").read_text()


def test_objects_are_counted(tmp_path: Path) -> None:
    shown: list[str] = []

    class Shown(Progress):
        @contextmanager
        def step(self, title: str, **_: Any) -> Iterator[Any]:
            yield SimpleNamespace(update=shown.append)

    make(tmp_path, Shown(io.StringIO()))("")
    assert shown == ["1 objects", "2 objects"]


def test_failure_is_the_users_with_the_first_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"build xen \(broken\)[^$]*a\.c:7: error: no such thing") as caught:
        make(tmp_path, Progress(io.StringIO()))("broken")
    assert "whole log" in caught.value.hint


def tree(folder: Path, *, own: bool) -> Tree:
    (folder / "tree").mkdir()
    source = Source(name="xen", version="4.20", origin="x", tree=folder / "mine" if own else None)
    return Tree(source=source, path=folder / "tree", series=(), digest="")


@pytest.mark.parametrize("own", [False, True])
def test_objects_are_kept_for_an_own_tree_alone(tmp_path: Path, own: bool) -> None:
    its = tree(tmp_path, own=own)
    seen = []
    for _ in range(2):
        with object_folder(its, "xen") as objects:
            seen.append(sorted(path.name for path in objects.iterdir()))
            (objects / "a.o").touch()
        assert objects.exists() is own
    assert objects == tmp_path / "tree.objects-xen"
    assert seen == [[], ["a.o"] if own else []]


def test_objects_of_a_failed_build_of_the_series_do_not_reach_the_next(tmp_path: Path) -> None:
    its = tree(tmp_path, own=False)
    with pytest.raises(UserError), object_folder(its, "xen") as objects:
        (objects / "a.o").touch()
        raise UserError("does not compile")
    with object_folder(its, "xen") as objects:
        assert not list(objects.iterdir())


def test_ccache_comes_before_the_compiler_if_there_is_one(tmp_path: Path) -> None:
    env = making.ccache(tmp_path / "tree")
    if not Path("/usr/lib/ccache/gcc").exists():
        assert env == {}
        return
    assert env["PATH"].startswith("/usr/lib/ccache:")
    assert env["CCACHE_BASEDIR"] == str(tmp_path)
