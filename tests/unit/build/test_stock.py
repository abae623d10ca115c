# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules of a distribution's kernel: dependencies come before the modules that need them."""

import lzma
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.build import stock
from harness.build.builder import Builder
from harness.core.errors import InfraError
from harness.source.bases import project_root
from harness.store.artifacts import Artifact


def tree(root: Path, depends: dict[str, str], builtin: str = "") -> Path:
    folder = root / "usr/lib/modules/6.12"
    (folder / "kernel").mkdir(parents=True)
    for name, needs in depends.items():
        data = b"\x7fELF\0license=GPL\0depends=" + needs.encode() + b"\0name=" + name.encode() + b"\0"
        (folder / "kernel" / f"{name}.ko.xz").write_bytes(lzma.compress(data))
    (folder / "modules.builtin").write_text(builtin)
    return root


def packed(target: Path) -> list[str]:
    with tarfile.open(target) as tar:
        return [Path(name).name for name in tar.getnames()[1:]]


def test_in_load_order(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "root",
        {"virtio_blk": "virtio,virtio_ring", "virtio_ring": "", "virtio": "virtio_ring", "xen-evtchn": ""},
    )
    stock.pack_modules(root, ("virtio-blk", "xen-evtchn"), tmp_path / "a.tar")
    assert packed(tmp_path / "a.tar") == [
        "00-virtio_ring.ko", "01-virtio.ko", "02-virtio_blk.ko", "03-xen_evtchn.ko",
    ]  # fmt: skip


def test_what_is_built_in_is_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"ext4": "jbd2"}, builtin="kernel/fs/jbd2/jbd2.ko\n")
    stock.pack_modules(root, ("ext4",), tmp_path / "a.tar")
    assert packed(tmp_path / "a.tar") == ["00-ext4.ko"]


def test_a_module_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="no module xenfs"):
        stock.pack_modules(tree(tmp_path / "root", {"ext4": ""}), ("xenfs",), tmp_path / "a.tar")


def test_images_are_keyed_by_what_the_archive_held_and_not_by_its_name(tmp_path: Path) -> None:
    """Two stores, or two days, may have other packages under one key."""

    def asked(version: str, rootfs: str = "r") -> dict[str, Any]:
        its = dict.fromkeys(("vmlinuz", "guest.tar", "dom0.tar"), version)
        files = {
            "kernel-stock": its,
            "rootfs": {"rootfs.tar": rootfs},
            "keys": {"id_key.pub": "", "host_key": ""},
            "tools": {},
        }
        found = {
            kind: Artifact(path=tmp_path, key="same", hit=True, reason="", files=those)
            for kind, those in files.items()
        }
        inputs: dict[str, Any] = {}

        def get(kind: str, what: Any, make: object) -> Artifact:
            inputs[kind] = what() if callable(what) else what
            return found.get(kind, found["kernel-stock"])

        builder: Any = SimpleNamespace(
            artifacts=found, get=get, common=Builder.common, images=project_root() / "images"
        )
        stock.make(builder)
        return inputs

    one = asked("1")
    assert asked("1") == one
    for other in (asked("2"), asked("1", rootfs="s")):
        assert other["kernel-stock"] == one["kernel-stock"]
        assert all(other[kind] != one[kind] for kind in ("guest-stock", "initrd-stock"))
