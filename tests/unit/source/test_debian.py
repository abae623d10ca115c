# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's archive: recorded output of apt, and where a pool has a package."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import known_base

from harness.source import apt, bases
from harness.source.debian import from_pool, newest_first, parse_showsrc

LOGS = Path(__file__).parents[1] / "logs"


@pytest.mark.parametrize("package", ["xen", "libvirt"])
def test_where_a_pool_has_a_package(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("harness.source.download.download_url", lambda url, target: asked.append(url))
    monkeypatch.setattr("harness.source.download.verify", lambda *_: None)
    base = known_base(tmp_path, "4.20.1")
    (tmp_path / "base.toml").write_text(base.text.replace('package = "xen"', f'package = "{package}"'))
    base = bases.load(tmp_path)
    mirror = apt.Mirror(uri="http://m/debian", keyring=Path("k"))
    from_pool(base, base.file.debian.known[0], mirror, tmp_path)
    folder = {"xen": "x", "libvirt": "libv"}[package]
    assert asked == [f"http://m/debian/pool/main/{folder}/{package}/{package}_4.20.1.orig.tar.xz"]


def test_versions_out_of_showsrc() -> None:
    listed = parse_showsrc((LOGS / "showsrc-linux.txt").read_text())
    assert [v.upstream for v in newest_first(listed)] == [
        "6.12.107", "6.12.101", "6.12.94", "6.12.38", "6.12.8",
    ]
    newest = newest_first(listed)[0]
    assert newest.tarball == "linux_6.12.107.orig.tar.xz"
    assert newest.sha256 == "efc76d3c78a5d65f42724118c437d11db1c9f6309a5f024ee9a8b1978fdc6919"


def test_xens_version_with_a_snapshot_in_it() -> None:
    (listed,) = parse_showsrc((LOGS / "showsrc-xen.txt").read_text())
    assert listed.version == "4.20.3+127-gc42374a105-0+deb13u1"
    assert listed.upstream == "4.20.3+127-gc42374a105"
    assert bases.in_series(listed.upstream, "4.20")
