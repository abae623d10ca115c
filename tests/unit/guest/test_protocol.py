# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines of the tool protocol."""

from __future__ import annotations

from fakes import DEV_START, PORTS

from harness.guest.protocol import Lines, Ports, RawResult


def test_ranges_come_as_pairs() -> None:
    lines = Lines(
        iter([DEV_START, PORTS]),
        tool="evtchn-dev",
        where="g",
        result=RawResult,
        others=(Ports,),
    )
    assert lines.expect(Ports).ranges == [(17, 113), (115, 117)]
