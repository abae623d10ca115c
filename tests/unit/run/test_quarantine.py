# SPDX-License-Identifier: GPL-2.0-or-later
"""Quarantine: what may be red, and for how long."""

from __future__ import annotations

import datetime
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from nights import record_run

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.history.merge import merge
from harness.monitor.knownissues import Quarantine, load, load_quarantine
from harness.report.junit import write_junit
from harness.report.tables import headline, why
from harness.run import judge
from harness.run.quarantine import counted, put_in_quarantine
from harness.run.record import RunRecord
from harness.run.record import load as load_run

PASS, FAIL, HANG, CRASH, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.HANG, Verdict.CRASH, Verdict.ERROR
TODAY = datetime.date(2026, 11, 29)
ENTRY = Quarantine(cell="*/race::a/1", why="being looked at", until=TODAY)


def held(tmp_path: Path, *entries: Quarantine, **words: object) -> tuple[RunRecord, list[str], Verdict]:
    _, record = load_run(record_run(tmp_path, "run", **words))  # type: ignore[arg-type]
    said = put_in_quarantine(record, entries or (ENTRY,), today=TODAY)
    return record, said, judge.judge_run(counted(record.tests))


@pytest.mark.parametrize(
    ("verdict", "run"),
    [(FAIL, PASS), (HANG, PASS), (CRASH, CRASH), (ERROR, ERROR), (None, ERROR), (PASS, PASS)],
)
def test_only_a_failure_or_a_hang_is_held_back(tmp_path: Path, verdict: Verdict | None, run: Verdict) -> None:
    record, said, judged = held(tmp_path, verdicts={"b": PASS, "a": verdict})
    assert judged is run and said == []
    assert record.tests[1].verdict is verdict, "the cell keeps its verdict"
    assert bool(record.tests[1].quarantine) is (verdict in (FAIL, HANG))


def test_other_cells_count(tmp_path: Path) -> None:
    assert held(tmp_path, verdicts={"a": FAIL, "ab": HANG})[2] is HANG


def test_nothing_else_ran(tmp_path: Path) -> None:
    assert held(tmp_path, verdicts={"a": FAIL})[2] is Verdict.SKIP


def test_expired(tmp_path: Path) -> None:
    late = Quarantine(cell="*a/1", why="x", until=TODAY - datetime.timedelta(days=1))
    _, said, judged = held(tmp_path, late, verdicts={"a": FAIL, "b": PASS})
    assert judged is FAIL
    assert said == ["quarantine of *a/1 expired on 2026-11-28, and 1 cells are red"]


def test_deterministic_cell_cannot_be_flaky(tmp_path: Path) -> None:
    _, said, judged = held(tmp_path, verdicts={"a": FAIL, "b": PASS}, deterministic=True)
    assert judged is FAIL and "which is deterministic" in said[0]


def test_entry_that_matches_nothing(tmp_path: Path) -> None:
    _, said, _ = held(tmp_path, Quarantine(cell="x[a]", why="x", until=TODAY), verdicts={"a": FAIL})
    assert said == ["quarantine of x[a] matched no cell of this run"]


def test_brackets_stand_for_themselves() -> None:
    entry = Quarantine(cell="*::test_x[pv64-*]/1", why="x", until=TODAY)
    assert entry.matches("b/r/g/3l/s::test_x[pv64-a]/1")
    assert not entry.matches("b/r/g/3l/s::test_xp/1")


def test_reports_show_it(tmp_path: Path) -> None:
    record, _, _ = held(tmp_path, verdicts={"a": FAIL, "b": PASS})
    record.verdict = PASS
    assert "1 red, but in quarantine" in headline(record)
    assert "in quarantine until 2026-11-29: being looked at" in why(record.tests[0])
    cases = ET.parse(write_junit(tmp_path / "run", record)).findall(".//testcase")
    assert [child.tag for child in cases[0] if child.tag != "properties"] == ["skipped", "system-out"]


def test_merged_run_keeps_it_unless_another_part_was_red_outside(tmp_path: Path) -> None:
    from harness.run.recorder import Recorder

    for name, entries in (("one", (ENTRY,)), ("two", ()), ("three", ())):
        folder = record_run(tmp_path, name, {"a": FAIL if name != "three" else PASS, "b": PASS})
        _, record = load_run(folder)
        put_in_quarantine(record, entries, today=TODAY)
        record.verdict = judge.judge_run(counted(record.tests))
        Recorder(run_dir=folder, record=record).save()
    merged = [merge([tmp_path / "one", tmp_path / other], plans={}, run_dir=tmp_path / f"m{other}")[1]
              for other in ("two", "three")]  # fmt: skip
    assert [record.verdict for record in merged] == [FAIL, PASS]


def test_a_run_reads_the_file_and_stays_green(evh) -> None:
    today = datetime.date.today()
    from harness.run.request import RunRequest

    assert RunRequest.__dataclass_fields__["quarantine"].default == ()
    sys.modules.pop("my_test", None)
    entry = Quarantine(cell="*::test_a/1", why="x", until=today)
    got = evh("def test_a(): assert 0\ndef test_b(): pass\n", quarantine=(entry,))
    assert got.record.verdict is PASS and got.record.exit_code == 0
    assert got.test("test_a").verdict is FAIL
    assert evh("def test_a(): assert 0\ndef test_b(): pass\n").record.verdict is FAIL


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "known-issues.toml"
    path.write_text('[[quarantine]]\ncell = "*/race::a/1"\nwhy = "being looked at"\nuntil = 2026-11-29\n')
    assert load_quarantine(path) == (ENTRY,) and load(path) == ()
    ok = 'cell = "a"\nwhy = "x"\n'
    for bad in ('cell = "*"\nwhy = "x"', 'cell = "a"\nwhy = " "', f"{ok}x = 1", 'why = "x"'):
        path.write_text(f"[[quarantine]]\n{bad}\nuntil = 2026-11-29\n")
        with pytest.raises(UserError):
            load_quarantine(path)
