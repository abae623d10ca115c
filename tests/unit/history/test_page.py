# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of trends."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from fakes import NASTY

from harness.core.records import Verdict
from harness.history.page import heat_map, plot, write_page
from harness.history.trends import trends

PASS, FAIL = Verdict.PASS, Verdict.FAIL


@pytest.fixture
def found(recorded_run, tmp_path: Path):
    for day in range(1, 6):
        metrics = {"a": {"cost": 100 + (day > 3)}}
        verdicts = {"a": PASS, "green": PASS, "flaky": FAIL if day == 2 else PASS}
        if day == 4:
            del verdicts["flaky"]
        recorded_run(
            f"n{day}", verdicts, deterministic=day != 2, metrics=metrics, commit=f"{day // 3:07}",
            started=f"2026-11-{day:02}T01:00:00.000+00:00",
        )  # fmt: skip
    return trends(tmp_path / "runs")


def test_heat_map_has_what_was_red_and_one_line_for_the_rest(found) -> None:
    red, green = heat_map(found.history)
    assert red.name.endswith("race::flaky/1")
    assert [verdict for verdict, _ in red.squares] == ["pass", "fail", "pass", "", "pass"]
    assert red.squares[1][1] == "2026-11-02 n2: fail flaky went wrong"
    assert green.name == "2 cells that were never red"
    assert [verdict for verdict, _ in green.squares] == ["pass"] * 5


def test_plot_has_a_point_for_each_run_and_marks_the_change(found) -> None:
    series = next(one for one in found.series if one.metric == "cost" and len(one.values) > 2)
    drawn = plot(found, series)
    assert len(drawn.dots) == 4 and drawn.line.count("M") == 2  # the gap of night 2
    assert len(drawn.marks) == 1
    assert drawn.dots[0][1] > drawn.dots[-1][1]  # y points down
    assert "1 nights without a value" in drawn.spread


def test_page_is_whole_and_escapes_what_it_quotes(found, recorded_run, tmp_path: Path) -> None:
    recorded_run("n9", {NASTY.replace("\x00", ""): FAIL}, started="2026-11-09T01:00:00.000+00:00")
    again = trends(tmp_path / "runs")
    path = tmp_path / "trends.html"
    write_page(again, path)
    text = path.read_text()
    assert "<script>" not in text and "\x1b" not in text
    for svg in text.split("<svg")[1:]:
        ET.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")
    assert "http" not in text.replace("http-equiv", ""), "the page loads nothing"


def test_page_that_cannot_be_written(found, tmp_path: Path) -> None:
    path = tmp_path / "trends.html"
    path.write_text("before")
    (tmp_path / "trends.html.new").symlink_to("/dev/full")
    with pytest.raises(OSError):
        write_page(found, path)
    assert path.read_text() == "before"
