# SPDX-License-Identifier: GPL-2.0-or-later
"""The badge."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from fakes import recorded

from harness.core.records import Verdict
from harness.report.badge import COLOURS, badge


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_badge_says_the_verdict(verdict: Verdict | None) -> None:
    record = recorded()
    record.verdict, record.state = verdict, "killed" if verdict is None else "finished"
    svg = badge(record)
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1] == ("pass, 1 cells" if verdict is Verdict.PASS else verdict or "killed")
    assert (COLOURS[Verdict.PASS] in svg) is (verdict is Verdict.PASS)
