# SPDX-License-Identifier: GPL-2.0-or-later
"""Small trees that look like Xen and Linux, with a series of commits; real git makes the mails."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fakes import git

from harness.core.progress import Progress
from harness.source import bases
from harness.store.artifacts import Store

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
