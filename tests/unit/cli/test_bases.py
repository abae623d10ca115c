# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``bases``."""

from __future__ import annotations

import pytest

from harness.cli.bases import bases
from harness.source.bases import every


def test_every_base_is_listed_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    bases()
    out = capsys.readouterr().out
    for component in ("xen", "linux"):
        for base in every(component):
            assert f"--{component} {base.folder.name} " in out
    assert out.count("(default)") == 2
