# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files belong to an XTF checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build.xtf import files_of
from harness.core.errors import UserError


def test_other_folder_is_not_accepted_as_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a checkout of XTF"):
        files_of(tmp_path)


def test_build_products_are_not_part_of_a_checkout(tmp_path: Path) -> None:
    for name in ("xtf-runner", "tests/a/main.c", "tests/a/main-pv64.o", "tests/a/test-pv64-a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [Path("tests/a/main.c"), Path("xtf-runner")]
