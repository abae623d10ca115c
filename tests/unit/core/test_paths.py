# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths on this host."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core import paths


def test_root_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache() == tmp_path / "evtchn-harness"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths.cache() == tmp_path / "home/.cache/evtchn-harness"
