# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line in a folder and with a store of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app


@pytest.fixture
def evh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
