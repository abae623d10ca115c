# SPDX-License-Identifier: GPL-2.0-or-later
"""Old names: they work, and their warning names the new one and the line that uses the old one."""

from __future__ import annotations

import pytest

from harness.core.deprecated import RenamedWarning, renamed, warn_renamed


class Tally:
    duplicated = 7
    doubled = renamed("doubled", "duplicated")


def test_old_attribute_answers_for_the_new_one_with_a_warning() -> None:
    with pytest.warns(RenamedWarning, match=r"Tally\.doubled is now duplicated; the old name goes"):
        assert Tally().doubled == 7


def test_warning_points_at_the_caller() -> None:
    def old() -> None:
        warn_renamed("old()", "new()")

    with pytest.warns(RenamedWarning) as caught:
        old()
    assert caught[0].filename == __file__
