# SPDX-License-Identifier: GPL-2.0-or-later
"""Every suite has its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.plan.selection import pytest_targets, select
from harness.plan.suites import SUITES, XTF


@pytest.mark.parametrize("name", list(SUITES))
def test_every_suite_has_its_tests(name: str) -> None:
    for target in pytest_targets(select(suites=[name], xtf=Path() if name == XTF else None)):
        assert Path(target).exists()
