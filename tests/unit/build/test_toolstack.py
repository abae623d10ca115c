# SPDX-License-Identifier: GPL-2.0-or-later
"""A toolstack out of Xen's tree: when it is needed, and what it is made from. Nothing is compiled."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import git

from harness.build import images, toolstack
from harness.build.builder import Builder
from harness.build.recipes import recipes
from harness.core import process
from harness.core.errors import InfraError, UserError
from harness.core.progress import Progress
from harness.core.records import Trees
from harness.store.artifacts import Store

TREE = {
    "xen/common/event_channel.c": "",
    "xen/Makefile": "XEN_VERSION = 4\nXEN_SUBVERSION = 22\n",
    "xen/include/public/domctl.h": "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000018\n",
    "xen/include/public/sysctl.h": "#define XEN_SYSCTL_INTERFACE_VERSION 0x00000016\n",
    "tools/xl/xl.c": "",
    "version.sh": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "mine"
    for name, text in TREE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "mine")
    return tree


@pytest.fixture
def builder(tree: Path, tmp_path: Path) -> Builder:
    store, progress = Store(tmp_path / "store"), Progress(io.StringIO())
    made = Builder(store=store, progress=progress, wanted=recipes(Trees(xen_tree=tree)), jobs=1)
    made.source("xen")
    return made


def test_facts_are_read_once_and_say_why_a_toolstack_is_needed(builder: Builder) -> None:
    said = toolstack.facts(builder)
    assert (said.version, said.domctl, said.sysctl) == ("4.22", 0x18, 0x16)
    assert "this Xen 4.22 domctl 0x18, sysctl 0x16" in toolstack.why_needed(builder, said)
    assert toolstack.facts(builder) == said and builder.artifacts[toolstack.INTERFACES].hit


def test_packaged_toolstack_serves_a_tree_with_its_interfaces(builder: Builder, tree: Path) -> None:
    for name in ("xen/Makefile", "xen/include/public/domctl.h", "xen/include/public/sysctl.h"):
        text = TREE[name].replace("22\n", "20\n").replace("18\n", "17\n").replace("16\n", "15\n")
        (tree / name).write_text(text)
    assert toolstack.why_needed(builder, toolstack.facts(builder)) == ""


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("xen/common/event_channel.c", False),
        ("xen/arch/x86/traps.c", False),
        ("xen/drivers/char/ns16550.c", False),
        ("tools/tests/x.c", False),
        ("tools/xl/xl.c", True),
        ("xen/include/public/event_channel.h", True),
        ("xen/common/libelf/libelf-tools.c", True),
        ("xen/common/unxz.c", True),
        ("xen/common/bunzip2.c", True),
        ("xen/common/kernel.c", True),  # configure looks for it
        ("xen/arch/x86/lib/cpu-policy/cpuid.c", True),
        ("xen/lib/xxhash64.c", True),
        ("version.sh", True),
    ],
)
def test_only_an_edit_of_its_own_files_builds_it_again(tree: Path, name: str, matters: bool) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("before")
    before = toolstack.hash_of(tree)
    (tree / name).write_text("after")
    assert (toolstack.hash_of(tree) != before) == matters
    assert (name in toolstack.files_of(tree)) == matters


def test_objects_of_a_plain_directory_are_left_out(tree: Path) -> None:
    for name in ("tools/xl/xl.o", "tools/libs/call/libxencall.so.1.3", "config/Tools.mk", "tools/config.h"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("of another release")
    assert set(toolstack.files_of(tree)) == TREE.keys() - {"xen/common/event_channel.c"}


def test_copy_has_links_and_modes(tree: Path, tmp_path: Path) -> None:
    (tree / "version.sh").chmod(0o755)
    (tree / "tools/link.c").symlink_to("xl/xl.c")
    toolstack.copy(tree, tmp_path / "copy")
    assert (tmp_path / "copy/tools/link.c").is_symlink()
    assert (tmp_path / "copy/version.sh").stat().st_mode & 0o111
    assert toolstack.hash_of(tmp_path / "copy") == toolstack.hash_of(tree)


def test_pack_gives_the_same_bytes_and_needs_an_xl(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="no xl"):
        toolstack.pack(tmp_path, tmp_path / "t.tar")
    for name in ("a", "b"):
        (tmp_path / name / "usr/sbin").mkdir(parents=True)
        (tmp_path / name / "usr/sbin/xl").write_text("xl")
        toolstack.pack(tmp_path / name, tmp_path / f"{name}.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_host_that_lets_no_root_be_entered_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho Operation not permitted >&2; exit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    find = process.find
    monkeypatch.setattr(
        process, "find", lambda name: str(tmp_path / name) if name == "unshare" else find(name)
    )
    with pytest.raises(InfraError, match="enter the root") as caught:
        toolstack.enter(tmp_path, "/build.sh", log=tmp_path / "log")
    assert "CAP_SYS_ADMIN" in caught.value.hint


def packed(target: Path, folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"tree's {name}")
    with tarfile.open(target, "w") as tar:
        tar.add(folder, ".")
    return target


def test_packaged_toolstack_is_replaced_and_its_libraries_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    old = ("usr/sbin/xl", "usr/lib/xen-4.20/bin/xenstored", "usr/lib/x86_64-linux-gnu/libxenctrl.so.4.20")
    for name in (*old, "usr/bin/other"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("Debian's")
    (root / "sbin").symlink_to("usr/sbin")
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info / "xen-utils-4.20.list").write_text("/.\n/usr/lib/xen-4.20/bin\n/usr/lib/xen-4.20/bin/xenstored\n")
    (info / "xen-utils-common.list").write_text("/usr/sbin/xl\n")
    (info / "libxenmisc4.20:amd64.list").write_text(f"/{old[2]}\n")
    checked: list[str] = []
    monkeypatch.setattr(images, "libraries", lambda debian, program: checked.append(program))
    tar = packed(tmp_path / "t.tar", tmp_path / "new", ("usr/sbin/xl", "sbin/extra"))
    images.replace_toolstack(root, tar)
    assert (root / "usr/sbin/xl").read_text() == "tree's usr/sbin/xl"
    assert not (root / old[1]).exists() and (root / old[2]).exists() and (root / "usr/bin/other").exists()
    assert (root / "sbin").is_symlink() and (root / "usr/sbin/extra").exists()
    assert "usr/sbin/xl" in checked and "usr/lib/xen/bin/xen-init-dom0" in checked


@pytest.mark.parametrize("break_it", [lambda tree: (tree / "xen/include/public/sysctl.h").unlink()])
def test_tree_without_headers_is_an_error_before_anything_is_built(
    builder: Builder, tree: Path, break_it: Callable[[Path], object]
) -> None:
    break_it(tree)
    with pytest.raises(UserError, match=r"sysctl\.h"):
        toolstack.facts(builder)
