# SPDX-License-Identifier: GPL-2.0-or-later
"""Pristine sources from upstream: a tarball by URL, or one commit of a git repository."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.core import process
from harness.core.records import Source
from harness.source.bases import Base, Upstream
from harness.source.download import Unavailable, fetch_verified
from harness.store.hashes import sha256_of


def from_upstream(base: Base, upstream: Upstream, dest: Path) -> Source:
    """Download upstream's tarball.

    Raises:
        Unavailable: the download fails, is cut short, or has the wrong checksum.
    """
    tarball = fetch_verified(upstream.url, upstream.sha256, dest)
    return Source(
        name=base.file.component,
        version=upstream.version,
        origin=upstream.url,
        sha256=upstream.sha256,
        tarball=tarball,
    )


def from_git(base: Base, upstream: Upstream, dest: Path) -> Source:
    """Upstream's tree at one commit, packed into a tarball here.

    Only that commit is fetched, and git verifies it against its hash.

    Raises:
        Unavailable: the repository does not answer, or lacks the commit.
    """
    tarball = dest / f"{base.file.component}-{upstream.version}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="git-", dir=dest) as name:
        git = ["git", "-C", name, "-c", "gc.auto=0"]
        what = f"fetch {upstream.commit[:12]} of {upstream.url}"
        process.run(["git", "init", "--quiet", "--bare", name], what=what, error=Unavailable)
        process.run(
            [*git, "fetch", "--quiet", "--depth=1", "--no-tags", upstream.url, upstream.commit],
            what=what,
            error=Unavailable,
        )
        prefix = f"--prefix={base.file.component}-{upstream.version}/"
        process.run(
            [*git, "archive", prefix, f"--output={tarball}", upstream.commit], what=what, error=Unavailable
        )
    return Source(
        name=base.file.component,
        version=upstream.version,
        origin=f"{upstream.url}@{upstream.commit}",
        sha256=sha256_of(tarball),
        tarball=tarball,
    )

