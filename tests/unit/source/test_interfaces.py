# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface versions of Xen trees, and which of them dom0's packaged toolstack fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.source.interfaces import Interfaces, interfaces_of, misfit, packaged


@dataclass(frozen=True)
class _Xen:
    version: str = "XEN_VERSION = 4\nexport XEN_SUBVERSION    = 22\n"
    domctl: str = "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000018\n"
    sysctl: str = "#define XEN_SYSCTL_INTERFACE_VERSION 0x00000016\n"

    def write(self, tree: Path) -> Path:
        public = tree / "xen/include/public"
        public.mkdir(parents=True)
        (tree / "xen/Makefile").write_text(self.version)
        (public / "domctl.h").write_text(self.domctl)
        (public / "sysctl.h").write_text(self.sysctl)
        return tree


def test_versions_are_read_out_of_makefile_and_headers(tmp_path: Path) -> None:
    got = interfaces_of(_Xen().write(tmp_path))
    assert got == Interfaces(version="4.22", domctl=0x18, sysctl=0x16)


def test_makefile_of_older_trees_exports_its_version(tmp_path: Path) -> None:
    older = _Xen(version="export XEN_VERSION       = 4\nexport XEN_SUBVERSION    = 20\n")
    assert interfaces_of(older.write(tmp_path)).version == "4.20"


@pytest.mark.parametrize(
    ("xen", "told"),
    [
        (_Xen(domctl="#define XEN_DOMCTL_INTERFACE_V\n"), "does not define XEN_DOMCTL_INTERFACE_VERSION"),
        (_Xen(sysctl=""), "does not define XEN_SYSCTL_INTERFACE_VERSION"),
        (_Xen(version="XEN_VERSION = 4\n"), "does not define XEN_SUBVERSION"),
    ],
)
def test_tree_without_a_version_is_an_error_that_names_the_file(tmp_path: Path, xen: _Xen, told: str) -> None:
    with pytest.raises(UserError, match=told):
        interfaces_of(xen.write(tmp_path))


def test_tree_without_a_header_is_an_error_that_asks_for_a_complete_one(tmp_path: Path) -> None:
    _Xen().write(tmp_path)
    (tmp_path / "xen/include/public/sysctl.h").unlink()
    with pytest.raises(UserError, match=r"sysctl\.h: No such file") as caught:
        interfaces_of(tmp_path)
    assert "sparse" in caught.value.hint


def test_packaged_toolstack_is_one_of_dom0s_packages() -> None:
    images = CHECKOUT / "images"
    assert packaged(images).package in (images / "dom0/packages").read_text().split()
    assert packaged(images).package.endswith(packaged(images).version)


def test_unknown_key_of_the_description_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dom0").mkdir()
    text = (CHECKOUT / "images/dom0/toolstack.toml").read_text()
    (tmp_path / "dom0/toolstack.toml").write_text(text + "hypfs = 1\n")
    with pytest.raises(UserError, match="hypfs"):
        packaged(tmp_path)


@pytest.mark.parametrize(
    ("version", "domctl", "sysctl", "fits"),
    [
        ("4.20", 0x17, 0x15, True),
        ("4.20", 0x18, 0x15, False),
        ("4.20", 0x17, 0x16, False),
        ("4.21", 0x17, 0x15, False),  # Debian's xl refuses it
    ],
)
def test_toolstack_fits_if_version_and_interfaces_are_equal(
    version: str, domctl: int, sysctl: int, fits: bool
) -> None:
    its = packaged(CHECKOUT / "images")
    assert (its.version, its.domctl, its.sysctl) == ("4.20", 0x17, 0x15), "adapt the parameters"
    why = misfit(its, Interfaces(version=version, domctl=domctl, sysctl=sysctl))
    assert (why == "") == fits
    assert fits or (version in why and f"{domctl:#x}" in why and "xen-utils-4.20" in why)
