# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML page of a recorded run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fakes import EVIL, NASTY, poisoned, recorded

from harness.core.records import Verdict
from harness.report.html import CONSOLE_LINES, write_html
from harness.run.record import (
    ErrorRecord,
    MachineRecord,
    RunRecord,
)
from harness.run.recorder import now


class Page(HTMLParser):
    """Tags and text of the page, as a browser parses them."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "machine-1").mkdir()
    (tmp_path / "machine-1" / "console-xen.log").write_bytes(
        b"line 0\r\n" * 1000 + NASTY.encode() + b"\xff\xfe\r\n"
    )
    path = write_html(tmp_path, recorded())
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["report.html"], (
        "the temporary file is gone"
    )
    return Page(path.read_text())


def test_page_is_well_formed_and_self_contained(page: Page) -> None:
    assert page.open == []
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "img", "iframe", "object"}]
    assert not [attrs for _, attrs in page.tags if attrs.keys() & {"src", "href", "onclick", "onerror"}]
    style = re.findall(r"url\(|@import", page.text)
    assert not style


def test_page_shows_consoles_escaped_and_cut(page: Page) -> None:
    assert "<script>alert(1)</script> & red \ufffd\ufffd end" in page.text
    assert page.text.count("line 0") == CONSOLE_LINES - 1
    assert "\x1b" not in page.text and "\x00" not in page.text


def test_page_contains_results_sources_and_machines(page: Page) -> None:
    for words in (
        "crash (xen)",
        "no /dev/kvm",
        "524,287",
        "f" * 64,
        "newer than asked",
        "8,192 MiB",
        "answered over SSH after 9.6 s",
        "evh run --suite limits",
        "evh run --cell 'a[b]'",
        "needs 8 GiB",
        "exit code 3",
        "1 pass",
        "1 crash",
        "1 skip",
    ):
        assert words in page.text, words


def test_lost_event_stands_out(page: Page) -> None:
    bad = [attrs for tag, attrs in page.tags if tag == "td" and "bad" in (attrs.get("class") or "").split()]
    assert len(bad) == 1, "only the lost event is highlighted, not the zeros"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            {"started": "restored", "boot_seconds": 6.0, "restore_seconds": 1.5},
            "restored from a snapshot, dom0 answered over SSH after 1.5 s (its boot took 6.0 s)",
        ),
        ({"started": "restored", "lost": "it was not restored: QEMU ended"}, "was not restored; lost: "),
        ({"boot_seconds": 6.0}, "answered over SSH after 6.0 s"),
        ({}, "did not boot"),
    ],
)  # fmt: skip
def test_page_says_how_each_machine_came_up(tmp_path: Path, words: dict[str, Any], text: str) -> None:
    machine = MachineRecord(number=1, abi="3l", memory_mib=8192, dom0_mib=6144, vcpus=2, **words)
    record = RunRecord(id="x", command=["evh"], reproduce="evh run", started=now(), machines=[machine])
    assert text in write_html(tmp_path, record).read_text()


@pytest.mark.parametrize("state", ["running", "killed", "interrupted", "failed"])
def test_unfinished_run_has_a_page_too(tmp_path: Path, state: str) -> None:
    record = RunRecord(
        id="x",
        command=["evh", "run"],
        reproduce="evh run",
        started="2026-01-01T12:00:00+00:00",
        state=state,
        doing="build linux",
    )
    if state in ("failed", "interrupted"):
        record.error = ErrorRecord(kind="InfraError", message="no space left", hint="evh clean")
        record.verdict = Verdict.ERROR
    page = Page(write_html(tmp_path, record).read_text())
    assert ("build linux" in page.text) or ("no space left" in page.text)


def test_no_text_of_a_run_reaches_the_page_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "coverage.txt").write_text(f"f.c:7 {EVIL}")
    page = write_html(tmp_path, poisoned()).read_text(encoding="utf-8")
    assert not {"\x1b", "\x07", "\x9b", "\x00", "\u202e"} & set(page)
    assert "hostile" not in page
    parsed = Page(page)
    assert parsed.open == [] and "script" not in {tag for tag, _ in parsed.tags}


def test_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "report.html.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_html(tmp_path, recorded())
    assert (tmp_path / "report.html").read_text() == "old"
