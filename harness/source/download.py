# SPDX-License-Identifier: GPL-2.0-or-later
"""Download a file over HTTP and verify its SHA-256."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from harness.core.errors import EvhError
from harness.store.hashes import sha256_of

# Seconds without data after which a download fails.
STALL = 60.0


class Unavailable(EvhError):
    """One source location cannot provide the file; the caller tries the next one."""


def fetch_verified(url: str, sha256: str, dest: Path) -> Path:
    """Download ``url`` into the folder ``dest``, keeping its file name.

    Raises:
        Unavailable: the download fails, is cut short, or has the wrong checksum; no file is left.
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
    """Download ``url`` to ``target``.

    Raises:
        Unavailable: no answer, an error status, or fewer bytes than announced.
    """
    try:
        with urllib.request.urlopen(url, timeout=STALL) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
            announced = answer.headers.get("Content-Length")
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise Unavailable(f"cannot be downloaded: {getattr(error, 'reason', error)}") from error
    except ValueError as error:  # no scheme
        raise Unavailable(f"cannot be downloaded: {error}") from error
    size = target.stat().st_size
    if announced is not None and size != int(announced):
        raise Unavailable(f"the download was cut short: {size} of {announced} bytes")


def verify(path: Path, sha256: str) -> None:
    """Check a file's SHA-256.

    Raises:
        Unavailable: it differs from ``sha256``; the file is removed.
    """
    got = sha256_of(path)
    if got != sha256:
        path.unlink()
        raise Unavailable(f"{path.name} has SHA-256 {got}, not the expected {sha256}")

