# SPDX-License-Identifier: GPL-2.0-or-later
"""The table and what is told below it, of a real validation of the small tree."""

from __future__ import annotations

import io

from fakes import git

from harness.core.records import Verdict
from harness.validate.record import BuildRecord, PatchRecord, SuiteRecord
from harness.validate.table import Growing, columns, print_end, step_lines, verdict_line, words_of


def test_a_row_for_each_patch_and_what_is_wrong_with_its_proof(whole) -> None:
    record, *_ = whole
    out = io.StringIO()
    growing = Growing("bare", file=out)
    for step in record.series[0].steps:
        growing.show(record.series[0], step)
    print_end(record, file=out)
    text = out.getvalue()
    rows = [line for line in text.splitlines() if line[:5].strip() in ("base", *"12345678")]
    assert len(rows) == 9
    heads = next(line for line in text.splitlines() if line.startswith("patch "))
    assert [heads[heads.index(name) :][: len(name)] for name, _ in columns("bare")]
    by = {row[:5].strip(): row for row in rows}
    assert "nothing" in by["1"] and "inherited" in by["1"]
    assert "1 broken" in by["3"] and " NO " in by["4"] and "+5.0 %" in by["7"] and "1 warn" in by["8"]
    assert "patch 3: regression: bare-pv64/3l/conformance::bound/1: crash (was: pass)" in text
    assert "  again: evh repro --run " in text
    assert "patch 2: conformance: mends new" in text
    assert "cost of bare-pv64 send: 1000 -> 1050 (+5.0 %)" in text
    assert text.splitlines()[-1].startswith("crash: 8 patches; red: 3, 4, 8; ")
    assert max(map(len, rows)) < 110


def test_a_good_series(small, validated) -> None:
    (small.path / "docs").mkdir()
    (small.path / "docs/x").write_text("words\n")
    git(small.path, "add", ".")
    git(small.path, "commit", "-q", "-m", "docs: x")
    record, *_ = validated(level="build")
    assert verdict_line(record).startswith("pass: 1 patches; nothing is broken; ")
    out = io.StringIO()
    print_end(record, file=out)
    assert "patch 1: neither built nor run: docs/x" in out.getvalue()


def test_a_suite_that_was_skipped_is_not_shown_as_good() -> None:
    def suite(name: str) -> SuiteRecord:
        return SuiteRecord(
            suite=name, cells=9, passed=0, skipped=9, seconds=1, run="", inherited=False
        )  # fmt: skip

    build = BuildRecord(text=5, sections=[".text"])
    step = PatchRecord(number=1, subject="s", commit="c", build=build, verdict=Verdict.PASS)
    step.suites = [suite("conformance"), suite("bench")]
    words = dict(words_of(step, "bare", 5))
    assert words["all skipped"] == words["not run"] == "yellow"
    assert ("patch 1: conformance: 9 of 9 cells were skipped", "dim") in list(step_lines(step))
