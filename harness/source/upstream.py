# SPDX-License-Identifier: GPL-2.0-or-later
"""Pristine source trees, verified: Debian's archive, upstream, or a tree of your own.

A tarball is an artifact in the store. What was resolved stands beside it in
``source.json``, so that later runs need no network and take the same one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.core import process
from harness.core.records import Source
from harness.source.bases import Base, Upstream
from harness.source.download import Unavailable, fetch_verified
from harness.store.hashes import sha256_of


def from_upstream(base: Base, upstream: Upstream, dest: Path) -> Source:
    """The makers' tarball by URL.

    Raises:
        Unavailable: it cannot be had, is cut short, or has another checksum.
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
    """The makers' tree at one commit, as a tarball of our own making.

    Only that commit is fetched, and git checks what comes against its name.

    Raises:
        Unavailable: the repository does not answer, or does not have the commit.
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

