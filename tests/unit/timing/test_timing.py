# SPDX-License-Identifier: GPL-2.0-or-later
"""`make timing`: both sides are measured in turn, and the page has what was measured and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rows import ROWS, Checkout, Failed, Row, edited
from timing import main, measured, page

HOST = {"cores": "2", "memory": "24,000 MiB", "kernel": "6.1", "qemu": "10.0.2"}
SIDES = {side: Checkout(path=Path(side), work=Path(side)) for side in ("base", "head")}


def result(base: list[float], head: list[float]) -> dict[str, Any]:
    return {
        "base": "b" * 40, "head": "h" * 40, "when": "2026-01-01 12:00 UTC", "host": HOST,
        "load": ["0.1 0.1 0.1", "2.0 1.0 0.5"], "figures": {"base": base, "head": head},
    }  # fmt: skip


def line_of(text: str, name: str) -> str:
    (line,) = (line for line in text.splitlines() if line.endswith(f"| `{name}` |"))
    return line


def test_base_and_head_take_turns_and_neither_is_always_first() -> None:
    log: list[str] = []

    def note(checkout: Checkout) -> float:
        log.append(str(checkout.path))
        return float(len(log))

    row = Row(what="x", goal=1, measure=note, prepare=lambda checkout: log.append(f"prepare {checkout.path}"))
    figures = measured(row, SIDES, rounds=3, say=lambda text: None)
    assert log == ["prepare base", "prepare head", "base", "head", "head", "base", "base", "head"]
    assert figures == {"base": [3, 6, 7], "head": [4, 5, 8]}


def test_row_whose_command_fails_has_no_figures() -> None:
    def fails(checkout: Checkout) -> float:
        raise Failed("evh run ended with status 1")

    with pytest.raises(Failed):
        measured(Row(what="x", goal=1, measure=fails), SIDES, rounds=1, say=lambda text: None)


def test_page_has_medians_spreads_and_whether_the_goal_was_met() -> None:
    text = page({"machine": result([6.0, 5.0, 9.0], [1.2, 1.8, 1.1]), "run": result([70.0], [35.0])}, ROWS)
    machine = line_of(text, "machine")
    assert "| 6.00 s (5.00 to 9.00) | 1.20 s (1.10 to 1.80) | 0.20 | 0.25 | 3 |" in machine
    run = line_of(text, "run")
    assert "| 70.0 s (70.0 to 70.0) | 35.0 s (35.0 to 35.0) | 0.50 | 0.35, missed | 1 |" in run
    assert "base bbbbbbbbbb, head hhhhhhhhhh; 2 cores" in text and "QEMU 10.0.2" in text


def test_row_that_was_not_measured_is_not_on_the_page() -> None:
    text = page({"machine": result([1], [1])}, ROWS)
    assert [name for name in ROWS if f"`{name}`" in text] == ["machine"]


@pytest.mark.parametrize(("head", "word"), [(59.0, "60 s |"), (61.0, "60 s, missed |")])
def test_absolute_goal(head: float, word: str) -> None:
    assert word in line_of(page({"edit-linux": result([200.0], [head])}, ROWS), "edit-linux")


@pytest.mark.parametrize(
    "words", [["no-such-row"], ["machine"], ["--base", "HEAD", "--rounds", "0", "machine"]]
)
def test_bad_words_are_refused_before_anything_is_done(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--work", str(tmp_path)])
    assert caught.value.code == 2
    assert not list(tmp_path.iterdir())


def test_unknown_commit_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--base", "no-such-commit", "--work", str(tmp_path), "machine"]) == 2
    assert "no-such-commit" in capsys.readouterr().err


def test_each_edit_is_another_one(tmp_path: Path) -> None:
    file = tmp_path / "event.c"
    file.write_text("int a;\nint evtchn_send(void)\n{\n}\n")
    seen = {file.read_text()}
    for _ in range(2):
        edited(tmp_path, "event.c", "int evtchn_send(")
        seen.add(file.read_text())
    assert len(seen) == 3 and all("int evtchn_send(void)" in text for text in seen)
    with pytest.raises(Failed, match="nothing like it"):
        edited(tmp_path, "event.c", "nothing like it")
