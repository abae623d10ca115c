# SPDX-License-Identifier: GPL-2.0-or-later
"""Downloads from a local server that misbehaves on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import CONTENT, SHA

from harness.source.download import Unavailable, download_url, fetch_verified, verify


def test_file_keeps_its_name(server: str, tmp_path: Path) -> None:
    got = fetch_verified(f"{server}/pool/xen.tar.xz", SHA, tmp_path)
    assert got == tmp_path / "xen.tar.xz"
    assert got.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "says"),
    [("short", "cut short: 5000 of"), ("altered", "has SHA-256"), ("absent", "cannot be downloaded")],
)
def test_bad_download_is_unavailable_and_leaves_no_file(
    server: str, tmp_path: Path, name: str, says: str
) -> None:
    with pytest.raises(Unavailable, match=says):
        fetch_verified(f"{server}/{name}.tar", SHA, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        download_url("http://127.0.0.1:1/x", tmp_path / "x")


def test_file_with_another_checksum_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "xen.tar"
    file.write_bytes(CONTENT)
    verify(file, SHA)
    with pytest.raises(Unavailable, match=f"xen.tar has SHA-256 {SHA}, not the expected 0000"):
        verify(file, "0" * 64)
    assert not file.exists()


@pytest.mark.parametrize("url", ["no-scheme/a.tar.xz", "http://a b/c.tar.xz", "gopher://host/a.tar.xz"])
def test_what_is_no_url_to_download_is_unavailable(tmp_path: Path, url: str) -> None:
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        fetch_verified(url, "0" * 64, tmp_path)
