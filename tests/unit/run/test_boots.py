# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots of bare guests, noted in run.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.records import Verdict
from harness.machine import bare
from harness.monitor import ktap
from harness.report.tables import schedules_line

BARE_LOG = "KTAP version 1\n1..2\n# metric rounds 40\nok 1 a\n# line 3: x\nnot ok 2 b\n"


def test_bare_boot_is_made_once_and_noted(evh, monkeypatch: pytest.MonkeyPatch) -> None:
    booted: list[bare.BareSpec] = []

    def boot(spec: bare.BareSpec, *, run_dir: Path, name: str, **words: object) -> bare.BareRun:
        booted.append(spec)
        console = run_dir / f"console-{name}.log"
        console.write_text(BARE_LOG)
        results = ktap.parse(BARE_LOG.splitlines())
        return bare.BareRun(
            verdict=Verdict.FAIL, reason="b", layer="xen", results=results, console=console, seconds=2.0
        )

    monkeypatch.setattr(bare, "boot_spec", boot)
    got = evh("""
        @pytest.mark.cell(guest="bare-pv64", abi="3l")
        @pytest.mark.parametrize("case", ["a", "b"])
        def test_b(bare, seed, case):
            assert bare("bare-pv64", suite="race", seed=seed, deterministic=True).case(case).ok
    """)
    assert got.verdicts == {"test_b[a]": Verdict.PASS, "test_b[b]": Verdict.FAIL}
    assert [spec.args for spec in booted] == ["suite=race seed=1"]
    (noted,) = got.record.boots
    assert (noted.args, noted.deterministic, noted.verdict) == ("suite=race seed=1", True, Verdict.FAIL)
    assert [t.boot for t in got.record.tests] == [1, 1]
    assert got.test("test_b[a]").metrics == {"rounds": 40}
    assert "not ok 2 b" in got.test("test_b[b]").evidence
    assert [c.layer for c in got.record.consoles] == ["bare-pv64-race-seed1"]
    assert "schedules: 40 explored in 2.0 s of 1 boots, 1,200 a minute" in schedules_line(got.record)
