# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of a tree, as its own Makefile gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.source.versions import series_of, version_in

# As in the trees: Xen 4.20.3, 4.22.0 and master, Linux 6.12.107, 7.2-rc3.
XEN = """\
export XEN_VERSION       = 4
export XEN_SUBVERSION    = {sub}
export XEN_EXTRAVERSION ?= {extra}$(XEN_VENDORVERSION)
export XEN_FULLVERSION   = $(XEN_VERSION).$(XEN_SUBVERSION)$(XEN_EXTRAVERSION)
"""
LINUX = """\
# SPDX-License-Identifier: GPL-2.0
VERSION = {}
PATCHLEVEL = {}
SUBLEVEL = {}
EXTRAVERSION ={}
NAME = Baby Opossum Posse
"""


@pytest.mark.parametrize(
    ("sub", "extra", "version"),
    [(20, ".3", "4.20.3"), (22, ".0", "4.22.0"), (23, "-unstable", "4.23-unstable")],
)
def test_xen(tmp_path: Path, sub: int, extra: str, version: str) -> None:
    (tmp_path / "xen").mkdir()
    (tmp_path / "xen/Makefile").write_text(XEN.format(sub=sub, extra=extra))
    assert version_in("xen", tmp_path) == version
    assert series_of(version) == (4, sub)


@pytest.mark.parametrize(
    ("parts", "version"), [((6, 12, 107, ""), "6.12.107"), ((7, 2, 0, " -rc3"), "7.2.0-rc3")]
)
def test_linux(tmp_path: Path, parts: tuple[object, ...], version: str) -> None:
    (tmp_path / "Makefile").write_text(LINUX.format(*parts))
    assert version_in("linux", tmp_path) == version


def test_no_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the version"):
        version_in("linux", tmp_path)
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(UserError, match="gives no version"):
        version_in("linux", tmp_path)
    with pytest.raises(UserError, match="not a version"):
        series_of("unknown")
