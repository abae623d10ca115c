# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile values, frames and page contents, drawn from a seed (``images/bare/tests/abuse.c``)."""

from __future__ import annotations

import pytest

from harness.run.cases import bare_cases

# Otherwise Xen would log a message for every frame that it refuses.
QUIET = "guest_loglvl=error"


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(("kind", "case"), bare_cases("abuse"))
def test_bare(bare, kind, case, seed):
    result = bare(kind, suite="abuse", seed=seed, deterministic=True, xen_args=QUIET).case(case)
    assert result.ok, "; ".join(result.diagnostics)
