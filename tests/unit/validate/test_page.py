# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a real validation of the small tree."""

from __future__ import annotations

from html.parser import HTMLParser

from harness.validate.page import PAGE


class Reader(HTMLParser):
    """Counts tags, and complains of ones that do not close."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag, attrs) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_a_page_with_the_table_costs_consoles_and_diffs(whole) -> None:
    _, folder, _ = whole
    text = (folder / PAGE).read_text()
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    assert text.count('<a href="#xen') == 9 and 'id="xen8"' in text
    assert "&lt;b&gt;the console of bound&lt;/b&gt;" in text and "<b>the console" not in text
    assert "bare-pv64 send" in text and "+5.0 %" in text
    assert "+    int cost = 1050;" in text  # the diff
    assert "http" not in text  # self-contained


def test_what_went_well_is_folded(whole) -> None:
    _, folder, _ = whole
    text = (folder / PAGE).read_text()
    assert '<details id="xen3" open>' in text and '<details id="xen1">' in text
