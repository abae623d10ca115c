# SPDX-License-Identifier: GPL-2.0-or-later
"""Races between two vCPUs of a bare guest, driven by a seed (``images/bare/tests/race.c``)."""

from __future__ import annotations

import pytest

from harness.run.cases import bare_cases


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("race"))
def test_bare(bare, kind, case, seed):
    result = bare(kind, suite="race", seed=seed, deterministic=True).case(case)
    assert result.ok, "; ".join(result.diagnostics)
