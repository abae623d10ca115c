# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of guests."""

from __future__ import annotations

from harness.plan.guests import BARE_PV_GUESTS


def test_pv_guests_are_those_that_can_be_dom0() -> None:
    assert BARE_PV_GUESTS == ("bare-pv64", "bare-pv32")
