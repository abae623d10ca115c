# SPDX-License-Identifier: GPL-2.0-or-later
"""What Otava does with our series, by the Otava that `make setup` installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.history import otava_worker


def ask(series: str) -> object:
    python = Path(sys.prefix) / "otava" / "bin" / "python"
    asked = f'{{"series": [{series}], "pvalue": 1e-5, "magnitude": 0.05}}'
    command = [str(python), "-I", otava_worker.__file__]
    return json.loads(subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout)


def test_step_is_found() -> None:
    assert ask(str([10.0, 10.1] * 8 + [12.0, 12.1] * 8)) == [[16]]


def test_one_nan_hides_every_step() -> None:
    """Why gaps are taken out first. Once this fails, Otava has learnt to do it."""
    values = [10.0, 10.1] * 8 + [12.0, 12.1] * 8
    assert ask(str([*values[:3], float("nan"), *values[3:]]).replace("nan", "NaN")) == [[]]
