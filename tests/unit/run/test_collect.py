# SPDX-License-Identifier: GPL-2.0-or-later
"""Collecting without a run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.plan.selection import select
from harness.plan.suites import SUITES
from harness.run.collect import collect
from harness.run.request import RunRequest


def plan_for(tmp_path: Path, count: int = 1, **words: object):
    with Progress(io.StringIO()) as progress:
        return collect(RunRequest(selection=select(**words)), progress=progress, count=count)  # type: ignore[arg-type]


def test_cells_of_every_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_for(tmp_path, count=4, suites=[name for name in SUITES if name != "xtf"])
    assert len(plan.cells) > 300 and plan.of == 4
    assert not list(tmp_path.iterdir())
    many = next(one for one in plan.cells if "/many::" in one.cell)
    assert many.memory_mib >= 6144 and many.boot.startswith("machine ")
    race = [one for one in plan.cells if "/race::" in one.cell]
    assert len({one.boot for one in race}) == len({one.cell.split("/")[2] for one in race})


def test_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(UserError, match="nothing_of_this_name") as caught:
        plan_for(tmp_path, files=[str(tmp_path / "test_x.py")])
    assert "/tmp/" not in caught.value.hint
