# SPDX-License-Identifier: GPL-2.0-or-later
"""A badge (SVG) with the verdict of a run."""

from __future__ import annotations

from harness.core.records import Verdict
from harness.run.record import RunRecord

COLOURS = {
    Verdict.PASS: "#1a7f4b",
    Verdict.SKIP: "#60686f",
    Verdict.FAIL: "#c4302b",
    Verdict.HANG: "#8b3fb5",
    Verdict.CRASH: "#7a1410",
    Verdict.ERROR: "#8a6300",
}
LABEL = "event channels"
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img"
 aria-label="{label}: {said}">
<title>{label}: {said}, {day}</title>
<rect width="{width}" height="20" rx="3" fill="#444b51"/>
<path d="M{left} 0h{right_less_3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right_less_3}z" fill="{colour}"/>
<g fill="#fff" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11" text-anchor="middle">
<text x="{middle}" y="14" textLength="{label_length}">{label}</text>
<text x="{other}" y="14" textLength="{said_length}">{said}</text>
</g></svg>
"""


def badge(record: RunRecord) -> str:
    """The badge. A run that did not end is never shown as a pass."""
    said = f"{record.verdict or record.state}"
    green = sum(test.verdict is Verdict.PASS for test in record.tests)
    if record.verdict is Verdict.PASS:
        said += f", {green:,} cells"
    # The widths are set, so the font of the reader does not matter.
    label_length, said_length = 6 * len(LABEL), 6 * len(said)
    left, right = label_length + 12, said_length + 12
    return _SVG.format(
        width=left + right, left=left, right_less_3=right - 3, middle=left / 2, other=left + right / 2,
        label=LABEL, said=said, label_length=label_length, said_length=said_length, day=record.started[:10],
        colour=COLOURS.get(record.verdict or Verdict.ERROR, COLOURS[Verdict.ERROR]),
    )  # fmt: skip
