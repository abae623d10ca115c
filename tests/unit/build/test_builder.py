# SPDX-License-Identifier: GPL-2.0-or-later
"""The Builder, on a store of its own and a developer's own trees; nothing is compiled."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from fakes import Held, beside, git, xen_tree

from harness.build.builder import Builder, kind, modules_of
from harness.build.recipes import recipes
from harness.core.progress import Progress
from harness.core.records import Trees
from harness.source.series import tree_path
from harness.store.artifacts import Artifact, Store
from harness.store.hashes import key_of


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    tree = xen_tree(tmp_path / "mine")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "mine")
    store, progress = Store(tmp_path / "store"), Progress(io.StringIO())
    return Builder(store=store, progress=progress, wanted=recipes(Trees(xen_tree=tree)), jobs=1)


def artifact(path: Path = Path(), **files: str) -> Artifact:
    """An artifact of the store; ``a_b`` is its file ``a.b``."""
    dotted = {name.replace("_", "."): value for name, value in files.items()}
    return Artifact(path=path, key="k", hit=True, reason="", files=dotted)


def test_artifact_is_made_once_and_recorded_under_its_kind(builder: Builder) -> None:
    first = builder.get("thing", {"a": "1"}, lambda dest: (dest / "f").write_text("x"))  # type: ignore[arg-type,return-value]
    again = builder.get("thing", {"a": "1"}, lambda dest: pytest.fail("made again"))
    assert (first.hit, again.hit) == (False, True)
    assert builder.artifacts == {"thing": again}


def test_own_tree_is_the_source_and_an_edit_changes_the_key(builder: Builder) -> None:
    source = builder.source("xen")
    assert builder.sources == {"xen": source}
    assert source.origin.startswith("tree:")
    before = builder.inputs("xen", source)
    assert builder.of_xen("xen") and not builder.of_xen("linux")
    assert source.tree is not None
    (source.tree / "xen/common/event_channel.c").write_text("edited\n")
    after = builder.inputs("xen", builder.source("xen"))
    assert {name for name in before if before[name] != after[name]}


def test_tools_are_compiled_once_and_serve_the_next_build(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "images/tools").mkdir(parents=True)
    (tmp_path / "images/tools/one.c").write_text("int main(void) { return 0; }\n")
    builder.images = tmp_path / "images"
    assert not builder.tools().hit
    assert builder.tools().hit
    (tmp_path / "images/tools/one.c").write_text("int main(void) { return 1; }\n")
    assert builder.tools().reason.startswith("one.c changed")


def test_log_of_the_tools_is_no_input_of_an_image() -> None:
    rootfs = artifact(rootfs_tar="r")
    keys = Artifact(path=Path(), key="k", hit=True, reason="", files={"id_key.pub": "p", "host_key": "h"})
    linux = artifact(bzImage="b")
    plain = Builder.common(rootfs, keys, artifact(tool="t"), linux)
    assert Builder.common(rootfs, keys, artifact(tool="t", build_log="l"), linux) == plain
    assert Builder.common(rootfs, keys, artifact(tool="u"), linux) != plain
    assert plain["modules"] == "none"


def test_modules_are_a_file_of_a_kernel_that_has_some() -> None:
    assert modules_of(artifact(Path("/s/linux"), modules_tar="m")) == Path("/s/linux/modules.tar")
    assert modules_of(artifact(Path("/s/linux"))) is None


def test_kind_of_a_components_variant() -> None:
    assert (kind("dom0", ""), kind("dom0", "hvm")) == ("dom0", "dom0-hvm")


# Makes what build_xen() takes; waits for the file `go` beside the tree, if there is one called `stop`.
MAKEFILE = """
export XEN_VERSION = 4
export XEN_SUBVERSION = 20
all:
\t@while [ -e ../../stop ] && ! [ -e ../../go ]; do touch ../../waits; sleep 0.02; done
\t@printf '\\177ELF\\001' | cat - common/event_channel.c | gzip > $(O)/xen.gz
\t@cp common/event_channel.c $(O)/xen-syms
olddefconfig:
"""


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=["git", "plain"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tree that looks like Xen's."""
    tree = tmp_path / "xen"
    (tree / "xen/common").mkdir(parents=True)
    (tree / "xen/common/event_channel.c").write_text("first")
    (tree / "xen/Makefile").write_text(MAKEFILE.replace("../..", str(tmp_path)))
    if request.param == "git":
        for command in ("init -q", "add .", "-c user.name=x -c user.email=x@localhost commit -qm x"):
            subprocess.run(["git", "-C", tree, *command.split()], check=True)
    return tree


def edit(tree: Path, text: str) -> None:
    (tree / "xen/common/event_channel.c").write_text(text)


def builder_of(store: Store, said: io.StringIO, tree: Path) -> Builder:
    return Builder(store=store, progress=Progress(said), wanted=recipes(Trees(xen_tree=tree)), jobs=1)


def content(artifact: Artifact) -> str:
    assert (artifact.path / "xen").read_bytes()[5:].decode() == (artifact.path / "xen-syms").read_text()
    return (artifact.path / "xen-syms").read_text()


@pytest.mark.parametrize("of_key", [True, False], ids=["the key's lock", "the tree's lock"])
def test_a_tree_that_is_edited_while_its_build_waits_is_stored_as_what_was_built(
    store: Store, said: io.StringIO, tree: Path, of_key: bool
) -> None:
    builder = builder_of(store, said, tree)
    source = builder.source("xen")
    before = key_of("xen", builder.inputs("xen", source))
    held = Held(store, f"xen-{before}" if of_key else f"tree-{tree_path(store, source).name}")

    def go_on() -> None:
        edit(tree, "second")
        held.close()

    beside(lambda: builder.kernel("xen", source), until=lambda: "waiting" in said.getvalue(), then=go_on)
    made = builder.artifacts["xen"]
    assert content(made) == "second"
    assert made.key == key_of("xen", builder.inputs("xen", source)) != before
    assert not (store.root / "xen" / before).exists()
    assert "beginning again" in said.getvalue()
    edit(tree, "first")
    assert content(builder.kernel("xen", source)) == "first"


def test_an_edit_while_the_compiler_runs_is_for_the_next_build(
    store: Store, said: io.StringIO, tree: Path, tmp_path: Path
) -> None:
    """The build has a copy of the tree."""
    builder = builder_of(store, said, tree)
    source = builder.source("xen")
    before = key_of("xen", builder.inputs("xen", source))
    (tmp_path / "stop").touch()

    def go_on() -> None:
        edit(tree, "second")
        (tmp_path / "go").touch()

    beside(lambda: builder.kernel("xen", source), until=(tmp_path / "waits").exists, then=go_on)
    assert builder.artifacts["xen"].key == before and content(builder.artifacts["xen"]) == "first"
    assert "beginning again" not in said.getvalue()
    assert content(builder.kernel("xen", source)) == "second"
