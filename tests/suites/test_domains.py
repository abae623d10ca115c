# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare guests of different ABIs and widths, built and destroyed (``images/bare/tests/domains.c``)."""

from __future__ import annotations

import pytest

from harness.plan.guests import BARE_PV_GUESTS
from harness.run.cases import bare_cases

# It needs a machine with one CPU (images/bare/tests/domains-end.c says why).
ONE_CPU = "a_full_domain_dies_in_short_steps"


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize(
    ("kind", "case"), [one for one in bare_cases("domains", BARE_PV_GUESTS) if one[1] != ONE_CPU]
)
def test_bare(bare, kind, case):
    result = bare(kind, suite="domains", deterministic=True).case(case)
    assert result.ok, "; ".join(result.diagnostics)


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize("kind", BARE_PV_GUESTS)
@pytest.mark.parametrize("option", ("domu", "off"))
def test_option(bare, kind, option):
    """Xen's option ``evtchn-3l``; the tests above run with its default."""
    word = f"evtchn-3l={option}"
    run = bare(
        kind, suite="domains", test="who_may_use_3l", deterministic=True, xen_args=word, extra_args=word
    )
    result = run.case("who_may_use_3l")
    assert result.ok, "; ".join(result.diagnostics)


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize("kind", BARE_PV_GUESTS)
def test_steps_of_the_end(bare, kind):
    """How long Xen keeps its only CPU to itself while a domain with every port open dies."""
    result = bare(kind, suite="domains", test=ONE_CPU, deterministic=True, vcpus=1).case(ONE_CPU)
    assert result.ok, "; ".join(result.diagnostics)
