# SPDX-License-Identifier: GPL-2.0-or-later
"""One series, or two at once."""

from __future__ import annotations

import pytest
from fakes import git

from harness.core.errors import UserError
from harness.validate.read import read_all


@pytest.fixture
def read(store, progress):
    def get(*named: str, **given: str):
        with read_all(named, store=store, progress=progress, **given) as placed:
            return [(one.base.kind, one.base.commit, len(one.series.patches)) for one in placed]

    return get


def test_two_at_once_xen_first(xen, linux, read, tmp_path) -> None:
    xen.mails(tmp_path / "out")
    linux_range = f"{linux.path}:HEAD~1..HEAD"
    assert read(linux_range, str(tmp_path / "out"), xen=str(xen.path)) == [
        ("xen", xen.base, 3), ("linux", linux.base, 1),
    ]  # fmt: skip
    assert git(xen.path, "status", "--porcelain") == "" == git(linux.path, "status", "--porcelain")


def test_what_does_not_fit_together(xen, linux, read) -> None:
    one = f"{xen.path}:{xen.base}..HEAD"
    for named, given, says in (
        ((one, one), {}, "are both series of xen"),
        ((one, one, one), {}, "3 series were named"),
        ((one,), {"linux": str(linux.path)}, "no series of linux"),
        ((one,), {"xen": "4.20"}, "has its base, and --xen 4.20 is another"),
    ):
        with pytest.raises(UserError, match=says):
            read(*named, **given)
