# SPDX-License-Identifier: GPL-2.0-or-later
"""Seeds on the command line."""

from __future__ import annotations

import pytest

from harness.core.errors import UserError
from harness.core.text import show_seeds
from harness.plan.seeds import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"), [("", ()), ("7", (7,)), ("1-3", (1, 2, 3)), ("3,5-6,3", (3, 5, 6)), ("4-4", (4,))]
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds
    assert parse_seeds(show_seeds(seeds)) == seeds


@pytest.mark.parametrize("text", ["x", "1-", "-1", "3-1", "1,,2", "1-1000000"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_seeds(text)
