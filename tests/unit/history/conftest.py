# SPDX-License-Identifier: GPL-2.0-or-later
"""Run folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from nights import record_run


@pytest.fixture
def recorded_run(tmp_path: Path) -> Callable[..., Path]:
    """``nights.record_run`` below the folder ``runs`` of the test."""
    return partial(record_run, tmp_path / "runs")
