# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh mutate` as its user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app


@pytest.fixture
def evh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)


def test_a_name_that_no_mutation_has_is_refused_with_those_there_are(evh, tmp_path: Path) -> None:
    got = evh("mutate", "words-of-64-bits", "nope")
    assert got.exit_code == 2
    assert "there is no mutation 'nope'" in got.output
    assert "registration-without-lock" in got.output
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("code", [0, 1, 4])
def test_options_are_passed_on_and_the_code_is_the_command_s(
    evh, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def mutate(names, *, again, store, progress, say) -> int:
        assert (list(names), again) == (["a", "b"], True)
        say("seen a")
        return code

    monkeypatch.setattr("harness.dev.mutate.mutate", mutate)
    got = evh("mutate", "--again", "a", "b")
    assert (got.exit_code, got.output) == (code, "seen a\n")
