# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `evh export` and `evh mail`."""

from __future__ import annotations

from pathlib import Path

import pytest
from nights import record_run

from harness.cli.export import Format
from harness.core.records import Verdict


@pytest.fixture
def run() -> Path:
    return record_run(Path("runs"), "one", {"a": Verdict.PASS, "b": Verdict.FAIL})


@pytest.mark.parametrize("what", list(Format))
def test_every_format(evh, what: Format) -> None:
    record_run(Path("runs"), "one", {"a": Verdict.PASS, "b": Verdict.FAIL})
    words = ("--origin", "lab") if what is Format.KCIDB else ()
    printed = evh("export", what, *words)
    assert printed.exit_code == 0 and ("fail" in printed.stdout or "FAIL" in printed.stdout)
    assert evh("export", what, "runs/one", "-o", "out", *words).stdout == ""
    assert Path("out").read_text() == printed.stdout


def test_mail(evh) -> None:
    record_run(Path("runs"), "zero", {"a": Verdict.PASS, "b": Verdict.PASS}, commit="1234567")
    record_run(Path("runs"), "one", {"a": Verdict.PASS, "b": Verdict.FAIL})
    got = evh("mail", "runs/one", "--from", "ci@example.org", "--to", "a@example.org", "--since", "runs/zero")
    assert got.exit_code == 0
    assert "Since the run before:" in got.stdout and "new red (1)" in got.stdout


@pytest.mark.parametrize(
    "words",
    [("export", "kcidb"), ("export", "badge", "--origin", "x"), ("export", "nothing"),
     ("export", "badge", "none"), ("mail",), ("mail", "--from", "x", "--to", "y")],
)  # fmt: skip
def test_wrong_usage(evh, words: tuple[str, ...]) -> None:
    record_run(Path("runs"), "one", {"a": Verdict.PASS})
    assert evh(*words).exit_code == 2


def test_file_that_cannot_be_written(evh) -> None:
    record_run(Path("runs"), "one", {"a": Verdict.PASS})
    assert evh("export", "badge", "-o", "/dev/full").exit_code == 4
