# SPDX-License-Identifier: GPL-2.0-or-later
"""run.json is complete at every moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import recorder

from harness.core.errors import InfraError
from harness.core.locks import using
from harness.core.paths import CHECKOUT
from harness.core.records import Verdict
from harness.run import recorder as module
from harness.run.record import TestResult, load
from harness.run.recorder import Recorder


def test_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Another process reads as fast as it can while this one writes a growing record."""
    rec = recorder(tmp_path)
    rec.save()
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json,sys\nprint('go',flush=True)\nn=0\n"
            "while n<400: json.load(open(sys.argv[1])); n+=1\nprint(n)",
            str(rec.path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None and reader.stdout.readline() == "go\n"
    while reader.poll() is None:
        rec.record.notes.append("x" * 5000)
        del rec.record.notes[40:]
        rec.save()
    out, err = reader.communicate()
    assert (out.strip(), err) == ("400", "")


def test_save_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rec = recorder(tmp_path)
    rec.save()
    before = rec.path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InfraError, match="No space"):
        rec.save()
    assert rec.path.read_bytes() == before
    monkeypatch.undo()
    (tmp_path / "run.journal").symlink_to("/dev/full")
    monkeypatch.setattr(module, "ALLOWANCE", -1)
    rec.save()
    with pytest.raises(InfraError, match="No space"):
        rec.save()
    (tmp_path / "run.journal").unlink()  # reading /dev/full never ends
    assert load(tmp_path)[1].id == "x"


def test_timings_do_not_count_time_twice(tmp_path: Path) -> None:
    rec = recorder(tmp_path)
    begin = time.monotonic()
    with rec.doing("outer"):
        time.sleep(0.02)
        with rec.doing("inner"):
            assert rec.record.doing == "inner"
            time.sleep(0.05)
        assert rec.record.doing == "outer"
    whole = time.monotonic() - begin
    spent = {step.step: step.seconds for step in rec.record.timings}
    assert spent["inner"] >= 0.05 and spent["outer"] >= 0.02
    assert spent["inner"] + spent["outer"] <= whole + 0.002


def test_words_of_where_it_was_stay_after_an_error(tmp_path: Path) -> None:
    rec = recorder(tmp_path)
    with pytest.raises(RuntimeError), rec.doing("build"), rec.doing("build xen"):
        raise RuntimeError
    assert rec.record.doing == "build xen"


@pytest.fixture
def no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run under way without time to write run.json again: each save goes to the journal."""
    monkeypatch.setattr(module, "ALLOWANCE", -1)
    with using(tmp_path):
        yield


def cells(rec: Recorder, number: int) -> None:
    """Save as the plugin does for each of these cells."""
    for seed in range(number):
        result = TestResult(cell=f"c/{seed}", test="t", suite="s", guest="dom0", abi="3l", seed=seed)
        rec.record.tests.append(result)
        with rec.doing(f"test {seed}"):
            rec.record.notes.append(f"note {seed}")
            rec.save()
        result.verdict = Verdict.PASS
        rec.save()


def test_journal_has_what_run_json_lacks(tmp_path: Path, no_time: None) -> None:
    rec = recorder(tmp_path)
    rec.save()
    before = rec.path.read_bytes()
    cells(rec, 20)
    assert rec.path.read_bytes() == before and json.loads(before)["tests"] == []
    assert load(tmp_path)[1] == rec.record
    rec.record.tests[3].verdict = Verdict.CRASH
    rec.save(whole=True)
    cells(rec, 2)
    assert load(tmp_path)[1] == rec.record
    rec.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in-use", "run.json"]
    assert load(tmp_path)[1] == rec.record


def test_half_a_line_and_lines_of_an_older_file_are_passed_over(tmp_path: Path, no_time: None) -> None:
    """Killed in the middle of a write, or between the new run.json and the end of the old journal."""
    rec = recorder(tmp_path)
    rec.save()
    cells(rec, 3)
    journal = tmp_path / "run.journal"
    lines = journal.read_bytes()
    journal.write_bytes(lines[:-20])
    found = load(tmp_path)[1]
    assert [test.verdict for test in found.tests] == [Verdict.PASS, Verdict.PASS, None]
    rec.save(whole=True)
    journal.write_bytes(lines)
    assert load(tmp_path)[1] == rec.record


def test_reader_is_never_behind_a_journal_that_began_anew(tmp_path: Path, no_time: None) -> None:
    """While one process writes both files, another reads them: the number of cells only grows."""
    rec = recorder(tmp_path)
    rec.save()
    program = (
        "import sys; from pathlib import Path; from harness.run.record import load\nn = 0\n"
        "print('go', flush=True)\n"
        "while n < 900:\n"
        "    now = sum(t.verdict is not None for t in load(Path(sys.argv[1]))[1].tests)\n"
        "    assert now >= n, (now, n)\n    n = now"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None and reader.stdout.readline() == "go\n"
    for _ in range(100):
        cells(rec, 9)
        rec.save(whole=True)
    assert reader.wait(30) == 0


def test_thousands_of_cells_cost_seconds(tmp_path: Path) -> None:
    """Writing the whole file each time took two minutes for these."""
    rec = recorder(tmp_path)
    began = time.process_time()
    cells(rec, 3000)
    rec.close()
    assert time.process_time() - began < 20
    assert len(load(tmp_path)[1].tests) == 3000


def test_text_that_is_not_unicode_is_recorded_all_the_same(tmp_path: Path) -> None:
    rec = recorder(tmp_path)
    rec.record.command = ["evh", "run", os.fsdecode(b"caf\xe9.py")]
    rec.save()
    assert load(tmp_path)[1].command[2] == r"caf\udce9.py"
