# SPDX-License-Identifier: GPL-2.0-or-later
"""run.json is complete at every moment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import recorder

from harness.core.errors import InfraError


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
