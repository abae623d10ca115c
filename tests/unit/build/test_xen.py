# SPDX-License-Identifier: GPL-2.0-or-later
"""How Xen is built, by a tree whose Makefile has the targets alone; the git in it is real."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fakes import git

from harness.build.kconfig import merge
from harness.build.xen import SERIES_DIFF, build_xen
from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.core.records import Source, Tree
from harness.source.series import BASE_REF

MAKEFILE = """\
olddefconfig:
\ttrue
build:
\tmkdir -p $(O)/common; touch $(O)/common/event_3l.gcno $(O)/common/other.gcno
\techo syms > $(O)/xen-syms
\tprintf '\\177ELF\\00$(BITS)' | gzip > $(O)/xen.gz
"""


def make_tree(folder: Path, *, bits: int = 1, own: bool = False) -> Tree:
    """A tree with one commit of a series; BITS is the ELF's class."""
    (folder / "tree/xen/common").mkdir(parents=True)
    (folder / "tree/xen/Makefile").write_text(f"BITS = {bits}\n{MAKEFILE}")
    (folder / "tree/xen/build.mk").touch()
    path = folder / "tree"
    git(path, "init", "-q")
    for subject in ("base", "series"):
        (path / "xen/common/event_3l.c").write_text(f"/* {subject} */\n")
        (path / "xen/common/other.c").write_text(f"/* {subject} */\n")
        git(path, "add", "-A")
        git(path, "commit", "-qm", subject)
    git(path, "update-ref", BASE_REF, "HEAD~1")
    source = Source(name="xen", version="4.20", origin="x", tree=path if own else None)
    return Tree(source=source, path=path, series=(), digest="")


def build(tree: Tree, config: str = "CONFIG_A=y\n") -> Path:
    dest = tree.path.parent / "dest"
    dest.mkdir()
    fragment = tree.path.parent / "a.config"
    fragment.write_text(config)
    progress = Progress(io.StringIO())
    build_xen(tree, dest, requested=merge([fragment], version="4.20"), jobs=1, progress=progress)
    return dest


def test_hypervisor_is_unpacked_and_its_configuration_kept(tmp_path: Path) -> None:
    dest = build(make_tree(tmp_path))
    assert (dest / "xen").read_bytes() == b"\x7fELF\x01"
    assert (dest / "xen-syms").read_text() == "syms\n"
    assert (dest / "xen.config").read_text() == "CONFIG_A=y\n"
    assert not (dest / "coverage").exists()


def test_hypervisor_that_qemu_cannot_load_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="not a 32-bit multiboot ELF"):
        build(make_tree(tmp_path, bits=2))


@pytest.mark.parametrize("own", [False, True])
def test_coverage_keeps_notes_sources_and_what_the_series_changes(tmp_path: Path, own: bool) -> None:
    kept = build(make_tree(tmp_path, own=own), "CONFIG_COVERAGE=y\n") / "coverage"
    names = {path.name for path in kept.iterdir()}
    assert names == {"event_3l.gcno", "event_3l.c"} | (set() if own else {SERIES_DIFF})
    if not own:
        diff = (kept / SERIES_DIFF).read_text()
        assert "+/* series */" in diff and "other.c" not in diff
