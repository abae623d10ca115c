# SPDX-License-Identifier: GPL-2.0-or-later
"""Pristine source trees, verified: Debian's archive, upstream, or a tree of your own.

A tarball is an artifact in the store. What was resolved stands beside it in
``source.json``, so that later runs need no network and take the same one.
"""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from harness.core.errors import EvhError
from harness.store.hashes import sha256_of

# Seconds without a byte until a download counts as dead.
STALL = 60.0


class Unavailable(EvhError):
    """One of several places does not have it; the next one is tried."""


def fetch_verified(url: str, sha256: str, dest: Path) -> Path:
    """Fetch ``url`` into the folder ``dest``, under its own name.

    Raises:
        Unavailable: it cannot be had, is cut short, or has another checksum; nothing is left then.
    """
    target = dest / url.rsplit("/", 1)[-1]
    try:
        download_url(url, target)
        verify(target, sha256)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def download_url(url: str, target: Path) -> None:
    """Fetch ``url`` into ``target``.

    Raises:
        Unavailable: no answer, an error status, or fewer bytes than announced.
    """
    try:
        with urllib.request.urlopen(url, timeout=STALL) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
            announced = answer.headers.get("Content-Length")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Unavailable(f"cannot be downloaded: {getattr(error, 'reason', error)}") from error
    size = target.stat().st_size
    if announced is not None and size != int(announced):
        raise Unavailable(f"the download was cut short: {size} of {announced} bytes")


def verify(path: Path, sha256: str) -> None:
    """Check a file's SHA-256.

    Raises:
        Unavailable: it has another one; the file is removed.
    """
    got = sha256_of(path)
    if got != sha256:
        path.unlink()
        raise Unavailable(f"{path.name} has SHA-256 {got}, not the expected {sha256}")

