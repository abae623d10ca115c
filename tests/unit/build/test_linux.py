# SPDX-License-Identifier: GPL-2.0-or-later
"""How Linux is built, by a tree whose Makefile has the targets alone."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from harness.build.kconfig import merge
from harness.build.linux import FIXED, build_linux
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Source, Tree

MAKEFILE = """\
tinyconfig:
\techo 'CONFIG_TINY=y' > $(O)/.config
olddefconfig:
\tgrep -v DROPPED $(O)/.config > $(O)/.new; mv $(O)/.new $(O)/.config
bzImage:
\tmkdir -p $(O)/arch/x86/boot
\techo "$(ARCH) $$KBUILD_BUILD_USER" | tee $(O)/arch/x86/boot/bzImage > $(O)/vmlinux
modules:
\ttouch $(O)/a.ko
modules_install:
\tmkdir -p $(INSTALL_MOD_PATH)/lib/modules; cp $(O)/a.ko $(INSTALL_MOD_PATH)/lib/modules
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/Makefile").write_text(MAKEFILE)
    (tmp_path / "tree/Kconfig").write_text("config DROPPED\n\tbool\n")
    source = Source(name="linux", version="6.12", origin="x")
    return Tree(source=source, path=tmp_path / "tree", series=(), digest="")


def build(tree: Tree, config: str, **words: str) -> Path:
    dest = tree.path.parent / "dest"
    dest.mkdir()
    fragment = tree.path.parent / "a.config"
    fragment.write_text(config)
    progress = Progress(io.StringIO())
    build_linux(tree, dest, requested=merge([fragment], version="6.12"), jobs=1, progress=progress, **words)
    return dest


def test_fragments_come_on_top_of_tinyconfig(tree: Tree) -> None:
    dest = build(tree, "CONFIG_XEN=y\n# CONFIG_OFF is not set\n")
    config = "CONFIG_TINY=y\nCONFIG_XEN=y\n# CONFIG_OFF is not set\n"
    assert (dest / "linux.config").read_text() == config
    assert (dest / "bzImage").read_text() == f"x86_64 {FIXED['KBUILD_BUILD_USER']}\n"
    assert {path.name for path in dest.iterdir()} == {
        "build.log", "linux.config", "bzImage", "vmlinux", "wishes.json",
    }  # fmt: skip


def test_architecture_is_kbuilds(tree: Tree) -> None:
    assert (build(tree, "", arch="i386") / "vmlinux").read_text().startswith("i386 ")


def test_modules_are_packed_if_there_are_any(tree: Tree) -> None:
    with tarfile.open(build(tree, "CONFIG_A=m\n") / "modules.tar") as tar:
        assert "./lib/modules/a.ko" in tar.getnames()


def test_symbol_that_kconfig_drops_is_an_error_before_anything_is_compiled(tree: Tree) -> None:
    with pytest.raises(UserError, match="CONFIG_DROPPED"):
        build(tree, "CONFIG_DROPPED=y\n")
    assert "bzImage" not in (tree.path.parent / "dest/build.log").read_text()
