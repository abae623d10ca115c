# SPDX-License-Identifier: GPL-2.0-or-later
"""Test cases of the bare guests and of KUnit, as found in their C sources."""

from __future__ import annotations

import pytest

from harness.build.kunit import ARCH
from harness.plan.guests import BARE_GUESTS, BARE_PV_GUESTS, KUNIT_KERNELS
from harness.run import cases
from harness.run.cases import bare_cases


@pytest.mark.parametrize("suite", ["conformance", "race", "abuse", "domains", "dump", "bench"])
def test_each_suite_has_tests_for_each_kind(suite: str) -> None:
    found = bare_cases(suite)
    assert {kind for kind, _ in found} == set(BARE_GUESTS)
    assert len(set(found)) == len(found)


def test_what_pv_guests_alone_can_do() -> None:
    kinds = {kind for kind, case in bare_cases("abuse") if case == "frames_that_are_not_writable"}
    assert kinds == set(BARE_PV_GUESTS)


def test_cases_are_those_of_the_series_for_both_widths() -> None:
    found = cases.kunit_cases()
    assert {kind for kind, _ in found} == set(KUNIT_KERNELS) == set(ARCH)
    assert len(set(found)) == len(found) >= 2 * 8
