# SPDX-License-Identifier: GPL-2.0-or-later
"""Tarballs of upstream's git repositories."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest
from fakes import git

from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.source import bases
from harness.source.fetch import fetch
from harness.store.artifacts import Store

pytestmark = pytest.mark.usefixtures("no_debian")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "--quiet")
    for content in ("old", "new"):
        (path / "file").write_text(content)
        git(path, "add", "file")
        git(path, "commit", "--quiet", "-m", content)
    return path


def git_base(tmp_path: Path, url: str, commit: str) -> bases.Base:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "base.toml").write_text(
        'component = "xen"\nseries = "4.20"\n[debian]\npackage = "xen"\nsuites = ["trixie"]\n'
        f'[[upstream]]\nversion = "4.20.1"\nurl = "{url}"\ncommit = "{commit}"\n'
    )
    return bases.load(folder)


def test_a_commit_of_a_git_repository(tmp_path: Path, repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD~1")
    store = Store(tmp_path / "store")
    source = fetch(
        git_base(tmp_path, f"file://{repository}", commit), store=store, progress=Progress()
    )
    assert source.origin == f"file://{repository}@{commit}"
    assert source.tarball is not None
    with tarfile.open(source.tarball) as tar:
        member = tar.extractfile("xen-4.20.1/file")
        assert member is not None and member.read() == b"old"
    assert hashlib.sha256(source.tarball.read_bytes()).hexdigest() == source.sha256
    assert sorted(p.name for p in source.tarball.parent.iterdir() if p.name.startswith("git-")) == []


def test_a_commit_that_is_not_there(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(InfraError, match="fetch 0123456789ab") as error:
        fetch(
            git_base(tmp_path, f"file://{repository}", "0123456789abcdef" * 2 + "01234567"),
            store=Store(tmp_path / "store"),
            progress=Progress(),
        )
    assert "--xen-tree" in error.value.hint
