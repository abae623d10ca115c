# SPDX-License-Identifier: GPL-2.0-or-later
"""A small tree that builds like Xen, with the real make, gcc and sandbox."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from fakes import git

from harness.core.progress import Progress
from harness.validate import sandbox
from harness.validate.base import Search, find_base
from harness.validate.building import Builder, Facts, first_error, unchanged_if_same, warnings_in
from harness.validate.ranges import read_range
from harness.validate.worktree import apply_series, work_tree

MAKEFILE = """\
XEN_VERSION = 4
XEN_SUBVERSION = 20
O ?= .
all: $(O)/xen-syms
	gzip -c $(O)/xen-syms >$(O)/xen.gz
olddefconfig:
	@test -e $(O)/.config
$(O)/xen-syms: common/event_channel.c
	@echo '  CC      common/event_channel.o'
	-touch ../../escaped /usr/escaped 2>/dev/null
	gcc -g -O1 -Wall -nostdlib -static -o $@ $<
"""
CODE = "struct evtchn { int a[4]; };\nstruct evtchn one;\nvoid _start(void)\n{\n    one.a[0] = 1;\n}\n"


@pytest.fixture
def builds(xen, store, tmp_path):
    """Builds the commits above the first two of a tree; gives what each is, and what was said."""
    (xen.path / "xen/Makefile").write_text(MAKEFILE)
    xen.file.write_text(CODE)
    git(xen.path, "add", ".")
    git(xen.path, "commit", "-q", "-m", "xen: it builds")
    base = xen.head()

    def run() -> tuple[list[Facts], str]:
        out = io.StringIO()
        progress = Progress(out)
        series = read_range(f"{xen.path}:{base}..HEAD")
        found = find_base(series, Search(store=store, progress=progress))
        with work_tree(found, store=store, progress=progress) as tree:
            applied = list(apply_series(tree, series))
            builder = Builder(
                kind="xen", tree=tree, store=store, progress=progress, confined=not sandbox.problem()
            )
            facts = [builder.build(one, title="build") for one in (tree.base, *applied)]
            assert not (tree.path.parent / "escaped").exists()
            return facts, out.getvalue()

    return run


def test_each_commit_is_built_once_and_compared(xen, builds) -> None:
    xen.file.write_text(f"/* why */\n{CODE}")
    git(xen.path, "commit", "-q", "-a", "-m", "xen: a comment")
    xen.file.write_text(CODE.replace("= 1", "= 2").replace("a[4]", "a[5]"))
    git(xen.path, "commit", "-q", "-a", "-m", "xen: a change")
    (base, comment, change), _ = builds()
    assert base.summary == comment.summary != change.summary
    assert (base.structs, change.structs) == ({"evtchn": 16}, {"evtchn": 20})
    assert base.text > 0 and {path.name for path in base.artifact.path.iterdir()} >= {
        "xen", "xen-syms", "xen.config", "build.log", "facts.json",
    }  # fmt: skip
    again, _ = builds()
    assert [one.artifact.hit for one in again] == [True] * 3
    assert again[2].sections == change.sections


def test_a_patch_that_does_not_build_is_a_result_and_the_next_one_is_built(xen, builds) -> None:
    xen.commit(5, "    nonsense;", "xen: broken")
    xen.commit(5, "    one.a[0] = 3;", "xen: mended")
    (base, broken, mended), _ = builds()
    assert "error: 'nonsense' undeclared" in broken.error.replace("\u2018", "'").replace("\u2019", "'")
    assert not broken.sections and mended.sections and not mended.error and base.text
    again, _ = builds()
    assert again[1].artifact.hit and again[1].error == broken.error


def test_objects_of_a_killed_build_are_not_trusted(xen, builds, store) -> None:
    """A compiler that is killed leaves half a file, which make takes for a whole one."""
    xen.commit(5, "    one.a[0] = 3;", "xen: change")
    builds()
    xen.commit(5, "    one.a[0] = 4;", "xen: another")
    (objects,) = store.root.glob("validate/*.objects")
    (objects / "xen-syms").write_text("half")
    future = 2**32
    os.utime(objects / "xen-syms", (future, future))
    (objects / ".under-way").touch()
    facts, _ = builds()
    assert facts[2].text > 0 and not (objects / ".under-way").exists()


def test_warnings(xen, builds) -> None:
    xen.commit(5, "    int unused; one.a[0] = 1;", "xen: sloppy")
    (base, sloppy), _ = builds()
    assert base.warnings == ()
    (warning,) = sloppy.warnings
    assert warning.startswith("common/event_channel.c: unused variable")


def test_a_configuration_that_comes_out_the_same_keeps_its_time(tmp_path: Path) -> None:
    config = tmp_path / ".config"
    with unchanged_if_same(config):
        config.write_text("CONFIG_X=y\n")
    os.utime(config, (1, 1))
    with unchanged_if_same(config):
        config.write_text("")
        config.write_text("CONFIG_X=y\n")
    assert config.stat().st_mtime == 1
    with unchanged_if_same(config):
        config.write_text("CONFIG_X=n\n")
    assert config.stat().st_mtime > 1


def test_warnings_in_a_log() -> None:
    log = (
        "  CC      a.o\n/t/drivers/a.c:3:5: warning: it is unused [-Wunused]\n"
        "/t/drivers/a.c:9:5: warning: it is unused [-Wunused]\nb.c:1: warning: other\n"
        "ld: warning: x has no file\nmake[1]: warning: no line\n"
    )
    assert warnings_in(log, Path("/t")) == ["b.c: other", "drivers/a.c: it is unused [-Wunused]"]


def test_the_first_error_of_a_log() -> None:
    assert first_error("could not build xen\n  CC a.o\na.c:1: error: bad\nb.c:2: error: worse\nmake: x") == (
        "a.c:1: error: bad"
    )
    assert first_error("could not build\nmake: *** [x] Error 2\nmake: end") == "make: *** [x] Error 2"
    assert first_error("a configuration\nthat differs") == "that differs"
