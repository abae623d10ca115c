# SPDX-License-Identifier: GPL-2.0-or-later
"""Trees that mark bug frames by UDB are found, and built with UD2."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

import pytest

from harness.build import udb
from harness.core.errors import UserError
from harness.core.records import Source, Tree
from harness.store.artifacts import Store

BUG_H = "xen/arch/x86/include/asm/bug.h"


def before() -> dict[str, str]:
    """What the patch's hunks expect: each file, made of its context and removed lines."""
    files: dict[str, str] = {}
    for part in re.split(r"^diff --git ", udb.patch().read_text(), flags=re.MULTILINE)[1:]:
        name = part.split()[0].removeprefix("a/")
        lines: list[str] = []
        for hunk in re.split(r"^@@ -", part, flags=re.MULTILINE)[1:]:
            head, *body = hunk.splitlines()
            lines += ["//"] * (int(head.split(",")[0]) - 1 - len(lines))
            lines += [line[1:] for line in body if line[:1] in (" ", "-")]
        files[name] = "\n".join(lines) + "\n"
    return files


def write(tree: Path, files: dict[str, str]) -> Source:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return Source(name="xen", version="4.22.0", origin="test", tree=tree)


def work_tree(source: Source) -> Tree:
    assert source.tree is not None
    return Tree(source=source, path=source.tree, series=(), digest="d")


def test_patch_replaces_every_udb(tmp_path: Path) -> None:
    source = write(tmp_path / "tree", before())
    store = Store(tmp_path / "store")
    assert udb.used_by(source, store=store)
    udb.avoid(work_tree(source))
    assert not udb.used_by(source, store=store)
    text = (tmp_path / "tree" / BUG_H).read_text()
    assert text.count("ud2") == 2 and "0xd6" not in text
    assert "0xd6" not in (tmp_path / "tree/xen/arch/x86/traps.c").read_text()


def test_tree_without_udb_needs_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert not udb.used_by(write(tmp_path / "a", {BUG_H: '#define BUG_INSTR "ud2"\n'}), store=store)
    assert not udb.used_by(write(tmp_path / "b", {"xen/Makefile": ""}), store=store)


@pytest.mark.parametrize("uses", [True, False])
def test_tarball_is_asked_too(tmp_path: Path, uses: bool) -> None:
    write(tmp_path / "xen-4.22.0", before() if uses else {"xen/Makefile": ""})
    tarball = tmp_path / "xen.tar.gz"
    with tarfile.open(tarball, "w:gz") as tar:
        tar.add(tmp_path / "xen-4.22.0", "xen-4.22.0")
    source = Source(name="xen", version="4.22.0", origin="test", sha256="0" * 64, tarball=tarball)
    assert udb.used_by(source, store=Store(tmp_path / "store")) == uses


def test_other_tree_with_udb_is_an_error_that_names_the_next_step(tmp_path: Path) -> None:
    source = write(tmp_path / "tree", before() | {"xen/arch/x86/traps.c": "rewritten\n"})
    with pytest.raises(UserError) as caught:
        udb.avoid(work_tree(source))
    assert "1f3dd605eab1" in caught.value.hint


def test_files_keep_their_times_from_build_to_build(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    udb.avoid(work_tree(write(tree, before())))
    os.utime(tmp_path / "tree.udb" / BUG_H, (1000, 1000))
    udb.avoid(work_tree(write(tree, before())))
    assert (tree / BUG_H).stat().st_mtime == 1000, "make would build everything again"
    edited = {name: text + "/* edited */\n" for name, text in before().items()}
    udb.avoid(work_tree(write(tree, edited)))
    assert (tree / BUG_H).stat().st_mtime > 1000
