# SPDX-License-Identifier: GPL-2.0-or-later
"""Test cases of the bare guests, as found in their C sources."""

import pytest

from harness.plan.guests import BARE_GUESTS, BARE_PV_GUESTS
from harness.run.cases import bare_cases


def test_pv_guests_are_those_that_can_be_dom0() -> None:
    assert BARE_PV_GUESTS == ("bare-pv64", "bare-pv32")


@pytest.mark.parametrize("suite", ["conformance", "race", "abuse", "domains", "dump", "bench"])
def test_each_suite_has_tests_for_each_kind(suite: str) -> None:
    found = bare_cases(suite)
    assert {kind for kind, _ in found} == set(BARE_GUESTS)
    assert len(set(found)) == len(found)


def test_what_pv_guests_alone_can_do() -> None:
    kinds = {kind for kind, case in bare_cases("abuse") if case == "frames_that_are_not_writable"}
    assert kinds == set(BARE_PV_GUESTS)
