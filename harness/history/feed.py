# SPDX-License-Identifier: GPL-2.0-or-later
"""An Atom feed (RFC 4287) of changes of verdict: an entry for each run in which a cell ended in a new way."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from harness.core.text import printable
from harness.history.nights import History

ATOM = "http://www.w3.org/2005/Atom"
ENTRIES = 50
MOST = 200


def changes_by_run(history: History) -> dict[int, list[str]]:
    """For each run that changed something, a line for each cell: ``pass -> fail  CELL: why``."""
    found: dict[int, list[str]] = {}
    for cell, results in history.results.items():
        before = ""
        for at in sorted(results):
            one = results[at]
            if before and one.verdict != before:
                why = f": {one.reason}" if one.red and one.reason else ""
                found.setdefault(at, []).append(printable(f"{before} -> {one.verdict}  {cell}{why}"))
            elif not before and one.red:
                found.setdefault(at, []).append(printable(f"new -> {one.verdict}  {cell}: {one.reason}"))
            before = one.verdict
    return dict(sorted(found.items()))


def feed(history: History, *, link: str = "") -> str:
    """The feed, newest run first.

    Args:
        link: of the page of trends.
    """
    ET.register_namespace("", ATOM)
    root = ET.Element(f"{{{ATOM}}}feed")
    changed = list(changes_by_run(history).items())[-ENTRIES:]
    newest = history.nights[-1].started if history.nights else "1970-01-01T00:00:00+00:00"
    _add(root, "title", "evtchn-harness: changes of verdict")
    _add(root, "id", "tag:evtchn-harness,2026:verdicts")
    _add(root, "updated", newest)
    _add(_add(root, "author"), "name", "evtchn-harness")
    if link:
        _add(root, "link", href=link)
    for at, lines in reversed(changed):
        night = history.nights[at]
        red = sum(" -> pass  " not in line and " -> skip  " not in line for line in lines)
        entry = _add(root, "entry")
        title = f"{night.verdict or night.state}: {len(lines)} changes, {red} to red ({night.id})"
        _add(entry, "title", printable(title))
        _add(entry, "id", printable(f"tag:evtchn-harness,2026:{night.started}:{night.id}"))
        _add(entry, "updated", night.started)
        if link:
            _add(entry, "link", href=link)
        shown = [*lines[:MOST], *([f"... and {len(lines) - MOST} more"] if len(lines) > MOST else [])]
        _add(entry, "content", "\n".join(shown), type="text")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add(parent: ET.Element, name: str, text: str = "", **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, f"{{{ATOM}}}{name}", attributes)
    element.text = text or None
    return element
