# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of the image builds; tests/system boots complete images."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import paramiko
import pytest

from harness.build import images
from harness.build.images import unpacked_ones


def test_package_lists_have_comments(tmp_path: Path) -> None:
    listing = tmp_path / "packages"
    listing.write_text("# why\nxen-utils-4.20\n\nkmod  # modules\n")
    assert images.packages(listing) == ("xen-utils-4.20", "kmod")


def test_versions_out_of_dpkgs_status() -> None:
    status = (
        "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.3\nDescription: x\n more: text\n\n"
        "Package: bash\nVersion: 5.2\n"
    )
    assert images.installed(status) == "bash 5.2\nzlib1g 1:1.3\n"


def test_keys_are_private_and_fit_together(tmp_path: Path) -> None:
    images.make_keys(tmp_path)
    for name in ("id_key", "host_key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        key = paramiko.Ed25519Key.from_private_key_file(str(tmp_path / name))
        kind, blob, _ = (tmp_path / f"{name}.pub").read_text().split()
        assert (kind, blob) == (key.get_name(), key.get_base64())
    assert (tmp_path / "id_key").read_bytes() != (tmp_path / "host_key").read_bytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:*:0:0::/:/bin/sh\n")
    (root / "init").write_text("#!/bin/sh\n")
    (root / "init").chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    return root


def test_a_cpio_is_roots_and_the_same_each_time(root: Path, tmp_path: Path) -> None:
    for name in ("one.gz", "two.gz"):
        images.pack_cpio(root, tmp_path / name)
        (root / "init").touch()
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    listed = subprocess.run(
        ["cpio", "-tv", "--numeric-uid-gid", "--quiet"],
        input=gzip.decompress((tmp_path / "one.gz").read_bytes()), capture_output=True, check=True,
    ).stdout.decode()
    lines = {line.split()[8]: line.split() for line in listed.splitlines()}
    assert set(lines) == {"etc", "etc/passwd", "init", "bin"}
    assert {(fields[2], fields[3]) for fields in lines.values()} == {("0", "0")}
    assert lines["init"][0] == "-rwxr-xr-x"


def test_an_ext4_image_holds_the_tree(root: Path, tmp_path: Path) -> None:
    image = tmp_path / "dom0.ext4"
    images.pack_ext4(root, image)
    assert image.stat().st_size == 1 << 30
    assert image.stat().st_blocks * 512 < 100 << 20
    shown = subprocess.run(
        ["/sbin/debugfs", "-R", "stat /etc/passwd", image], capture_output=True, check=True
    ).stdout.decode()
    assert "User:     0   Group:     0" in shown


def test_versions_of_packages_that_are_only_unpacked_come_from_their_archives() -> None:
    said = "zlib1g_1%3a1.3.dfsg+1.3.1-1_i386.deb\nbusybox-static_1%3a1.37.0-6+b9_i386.deb\npartial\nlock\n"
    assert unpacked_ones(said) == "busybox-static 1:1.37.0-6+b9\nzlib1g 1:1.3.dfsg+1.3.1-1\n"
