# SPDX-License-Identifier: GPL-2.0-or-later
"""Durations, printable text and the end of a console file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.text import duration, printable, tail


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.04, "0.04 s"),
        (0.417, "0.42 s"),
        (0.994, "0.99 s"),
        (0.996, "1.0 s"),
        (1, "1.0 s"),
        (7.31, "7.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (60, "1 min 00 s"),
        (119.6, "2 min 00 s"),
        (185.4, "3 min 05 s"),
        (252, "4 min 12 s"),
        (3600, "60 min 00 s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_printable_drops_escapes_and_replaces_control_characters() -> None:
    assert printable("\x1b[31mred\x1b[0m\x1b[2J\r\n\tend \x00\x07") == "red\n\tend \ufffd\ufffd"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\dcs", "dcs"),
        ("\x1b(B\x1b=\x1bcreset", "reset"),
        ("\x9b31mC1 \x08\x7f", "\ufffd31mC1 \ufffd\ufffd"),
        ("\u202egnirts", "\ufffdgnirts"),
        ("\x1b]0;never ended\nBUG: here", "0;never ended\nBUG: here"),
        ("cut \x1b", "cut \ufffd"),
    ],
)
def test_no_escape_of_any_kind_is_left(text: str, plain: str) -> None:
    assert printable(text) == plain


def test_tail_gives_the_last_lines_of_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"one\r\ntwo\r\n\xff three\r\n")
    assert tail(path, lines=2) == "two\n\ufffd three"
    assert tail(path, lines=9, most=5) == "ree"
