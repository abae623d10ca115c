# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands `evh diff` and `evh trends`."""

from __future__ import annotations

import json
from pathlib import Path

from nights import record_run

from harness.core.records import Verdict


def test_diff(evh) -> None:
    record_run(Path("runs"), "one", {"a": Verdict.PASS})
    record_run(Path("runs"), "two", {"a": Verdict.FAIL}, commit="1234567")
    got = evh("diff", "runs/one", "runs/two")
    assert got.exit_code == 1 and "1 new red" in got.output
    document = json.loads(evh("diff", "runs/one", "runs/two", "--json").stdout)
    assert document["differences"][0]["kind"] == "new red"
    assert evh("diff", "runs/one", "runs/one").exit_code == 0
    assert evh("diff", "runs/one", "none").exit_code == 2


def test_trends(evh) -> None:
    record_run(Path("runs"), "one", {"a": Verdict.PASS}, deterministic=True, metrics={"a": {"n": 1}})
    assert evh("trends").exit_code == 0
    record_run(Path("runs"), "two", {"a": Verdict.PASS}, deterministic=True, metrics={"a": {"n": 2}})
    got = evh("trends", "runs", "--page", "page.html")
    assert got.exit_code == 4 and "an error of the harness" in got.output
    assert Path("page.html").is_file()
    assert evh("trends", "none").exit_code == 2
