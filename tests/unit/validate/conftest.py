# SPDX-License-Identifier: GPL-2.0-or-later
"""Small trees that look like Xen and Linux, with a series of commits; real git makes the mails."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from fakes import git
from validate.small import CODE, MAKEFILE, ProgramRunner

from harness.core.progress import Progress
from harness.source import bases
from harness.store.artifacts import Store
from harness.validate import sandbox
from harness.validate.read import read_all
from harness.validate.reply import write_outputs
from harness.validate.validate import Request, validate

BASE_TOML = """\
component = "xen"
series = "4.20"
[debian]
package = "xen"
suites = []
[[upstream]]
version = "4.20.0"
url = "{url}"
commit = "{commit}"
"""


class SmallTree:
    """A git tree with a base commit and a branch of patches; ``base`` and ``tip`` are their ids."""

    def __init__(self, path: Path, mark: str) -> None:
        self.path, self.file = path, path / mark
        self.file.parent.mkdir(parents=True)
        git(path, "init", "-q", "-b", "master")
        self.file.write_text("".join(f"line {n}\n" for n in range(1, 41)))
        (path / "Makefile").write_text("all:\n")
        git(path, "add", ".")
        git(path, "commit", "-q", "-m", "the base")
        self.base = self.head()

    def head(self) -> str:
        return git(self.path, "rev-parse", "HEAD")

    def commit(self, line: int, text: str, subject: str, body: str = "Because.") -> str:
        """Replace a line of the file, and commit."""
        lines = self.file.read_text().splitlines(keepends=True)
        lines[line - 1] = f"{text}\n"
        self.file.write_text("".join(lines))
        git(self.path, "commit", "-q", "-a", "-m", f"{subject}\n\n{body}")
        return self.head()

    def mails(self, to: Path, *words: str, count: int = 3) -> list[Path]:
        """`git format-patch` of the last ``count`` commits into a folder."""
        said = git(self.path, "format-patch", "-q", "-o", str(to), *words, f"-{count}")
        assert not said
        return sorted(to.iterdir())


@pytest.fixture
def xen(tmp_path: Path) -> SmallTree:
    """A tree that looks like Xen, with three patches on top of its base."""
    tree = SmallTree(tmp_path / "xen", "xen/common/event_channel.c")
    tree.commit(3, "three", "xen/evtchn: first")
    tree.commit(20, "twenty", "xen/evtchn: second")
    tree.commit(37, "thirty-seven", "xen/evtchn: third")
    return tree


@pytest.fixture
def linux(tmp_path: Path) -> SmallTree:
    """A tree that looks like Linux, with one patch."""
    tree = SmallTree(tmp_path / "linux", "drivers/xen/events/events_base.c")
    tree.commit(3, "three", "xen/events: only")
    return tree


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def progress() -> Progress:
    return Progress(io.StringIO())


@pytest.fixture
def bases_of(xen: SmallTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose only base of Xen is the small tree's base commit; returns the base's folder."""
    folder = tmp_path / "checkout/xen-patches/4.20"
    folder.mkdir(parents=True)
    (tmp_path / "checkout/guest-patches").mkdir()
    (folder / "base.toml").write_text(BASE_TOML.format(url=xen.path, commit=xen.base))
    monkeypatch.setattr(bases, "CHECKOUT", tmp_path / "checkout")
    return folder


def edit(tree: SmallTree, old: str, new: str, subject: str) -> None:
    """Replace some text of the tree's file once, and commit."""
    text = tree.file.read_text()
    assert old in text
    tree.file.write_text(text.replace(old, new, 1))
    git(tree.path, "commit", "-q", "-a", "-m", subject)


def small_tree(path: Path) -> SmallTree:
    """A tree that looks like Xen, whose base builds into a program; no patch yet."""
    tree = SmallTree(path, "xen/common/event_channel.c")
    (tree.path / "xen/Makefile").write_text(MAKEFILE)
    tree.file.write_text(CODE)
    git(tree.path, "add", ".")
    git(tree.path, "commit", "-q", "-m", "xen: it builds")
    tree.base = tree.head()
    return tree


class Validations:
    """Validates a small tree's patches, or what is named; ``folders`` are those of the validations."""

    def __init__(self, tree: SmallTree, where: Path) -> None:
        self.tree, self.where, self.store = tree, where, Store(where / "store")
        self.folders: list[Path] = []

    def __call__(self, *named: str, runner: ProgramRunner | None = None, **words: Any):
        """The record, its folder, and the runner."""
        made = runner or ProgramRunner()
        folder = self.where / f"run{len(self.folders)}"
        folder.mkdir()
        self.folders.append(folder)
        words = {"level": "bare", "confined": not sandbox.problem()} | words
        series = named or (f"{self.tree.path}:{self.tree.base}..HEAD",)
        given = "" if ".." in series[0] else f"{self.tree.path}:{self.tree.base}"
        progress = Progress(io.StringIO())
        with read_all(list(series), xen=given, store=self.store, progress=progress) as placed:
            record = validate(
                placed,
                Request(**words),
                folder=folder,
                store=self.store,
                progress=progress,
                runner=lambda *_: made,
            )
            write_outputs(folder, record, [one.series for one in placed])
        return record, folder, made


@pytest.fixture
def small(tmp_path: Path) -> SmallTree:
    return small_tree(tmp_path / "small")


@pytest.fixture
def validated(small: SmallTree, tmp_path: Path) -> Validations:
    return Validations(small, tmp_path)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SmallTree:
    """A series with planted faults, one to a patch; nobody changes it."""
    tree = small_tree(tmp_path_factory.mktemp("planted") / "xen")
    edit(tree, "int main", "/* why */ int main", "1 a comment")
    edit(tree, "one.a[0] = seen;", "one.a[0] = seen; one.a[2] = 7;", "2 a fix")
    edit(tree, "one.a[0] =", "one.a[1] =", "3 an off-by-one")
    edit(tree, "cost = 1000;", "cost = 1000 nonsense;", "4 does not build alone")
    edit(tree, "1000 nonsense", "1000", "5 builds again")
    edit(tree, "one.a[1] =", "one.a[0] =", "6 mends the off-by-one")
    edit(tree, "cost = 1000;", "cost = 1050;", "7 five per cent")
    edit(tree, "int seen = 1;", "int seen = 2; int unused;", "8 twice, and sloppy")
    return tree


@pytest.fixture(scope="session")
def of_planted(planted: SmallTree, tmp_path_factory: pytest.TempPathFactory) -> Validations:
    """Validations of the planted series, which share a store."""
    return Validations(planted, tmp_path_factory.mktemp("validations"))


@pytest.fixture(scope="session")
def mails(planted: SmallTree, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The planted series as mails, with a cover letter."""
    folder = tmp_path_factory.mktemp("mails")
    paths = planted.mails(folder, "--cover-letter", "--thread", "-v2", count=8)
    paths[0].write_text(paths[0].read_text().replace("*** SUBJECT HERE ***", "some faults"))
    return paths


@pytest.fixture(scope="session")
def whole(of_planted: Validations, mails: list[Path]):
    """One validation of all planted patches: the record, its folder, and the runner."""
    return of_planted(str(mails[0].parent))
