# SPDX-License-Identifier: GPL-2.0-or-later
"""The feed of changes of verdict."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

from fakes import NASTY

from harness.core.records import Verdict
from harness.history.feed import ATOM, feed
from harness.history.index import index_of
from harness.history.nights import History, read_history

PASS, FAIL = Verdict.PASS, Verdict.FAIL
NAMES = {"a": ATOM}


def history(recorded_run, runs: Path, *nights: dict[str, Verdict]) -> History:
    for at, verdicts in enumerate(nights, 1):
        recorded_run(f"n{at}", verdicts, started=f"2026-11-{at:02}T01:00:00.000+00:00")
    with index_of(runs) as connection:
        return read_history(connection)


def test_only_changes_are_entries(recorded_run, tmp_path: Path) -> None:
    nights = [{"a": PASS}, {"a": PASS}, {"a": FAIL}, {"a": FAIL}, {"a": PASS, "b": PASS}]
    nights.append({"a": PASS, "c": FAIL})
    text = feed(history(recorded_run, tmp_path / "runs", *nights), link="https://x.example/")
    root = ET.fromstring(text)
    titles = [title.text for title in root.findall("a:entry/a:title", NAMES)]
    assert titles == [
        "fail: 1 changes, 1 to red (n6)",
        "pass: 1 changes, 0 to red (n5)",
        "fail: 1 changes, 1 to red (n3)",
    ]
    assert root.findtext("a:entry/a:content", namespaces=NAMES).startswith("new -> fail  ")
    # RFC 4287, 4.1.1 and 4.1.2: what a feed and an entry must have.
    for name in ("id", "title", "updated", "author/a:name"):
        assert root.findtext(f"a:{name}", namespaces=NAMES)
    ids = [one.text for one in root.findall("a:entry/a:id", NAMES)]
    assert len(set(ids)) == 3
    for updated in root.iter(f"{{{ATOM}}}updated"):
        assert datetime.fromisoformat(updated.text or "").tzinfo


def test_ids_stay_when_nights_are_added(recorded_run, tmp_path: Path) -> None:
    before = ET.fromstring(feed(history(recorded_run, tmp_path / "runs", {"a": PASS}, {"a": FAIL})))
    recorded_run("n3", {"a": PASS}, started="2026-11-03T01:00:00.000+00:00")
    with index_of(tmp_path / "runs") as connection:
        after = ET.fromstring(feed(read_history(connection)))
    ids = [[one.text for one in root.findall("a:entry/a:id", NAMES)] for root in (before, after)]
    assert ids[1][1:] == ids[0]


def test_what_a_guest_prints_is_text(recorded_run, tmp_path: Path) -> None:
    nights = {"a": PASS, NASTY.replace("\x00", ""): PASS}, {"a": PASS, NASTY.replace("\x00", ""): FAIL}
    root = ET.fromstring(feed(history(recorded_run, tmp_path / "runs", *nights)))
    assert "<script>" in root.findtext("a:entry/a:content", namespaces=NAMES)


def test_no_run() -> None:
    assert ET.fromstring(feed(History(nights=()))).findtext("a:updated", namespaces=NAMES)
