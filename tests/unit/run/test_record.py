# SPDX-License-Identifier: GPL-2.0-or-later
"""run.json is complete at every moment, and a killed run is recognized as such."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from harness.core.errors import InfraError, UserError
from harness.core.records import Verdict
from harness.run.judge import EXIT_CODES
from harness.run.record import RunRecord, load
from harness.run.recorder import Recorder, now

HERE = Path(__file__).parents[1]


def recorder(folder: Path) -> Recorder:
    record = RunRecord(id="x", command=["evh", "run"], reproduce="evh run", started=now(), pid=os.getpid())
    return Recorder(run_dir=folder, record=record)


def start_run(folder: Path, body: str) -> subprocess.Popen[str]:
    """A child process that runs a test file on a fake machine; it prints ``there`` once the test waits."""
    (folder / "my_test.py").write_text(
        textwrap.dedent("""
            import os, time
            def test_first(machine): pass
            def test_second(machine):
                os.write(2, b"there\\n")
                BODY
            def test_third(machine): pass
        """).replace("BODY", body)
    )
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(HERE)!r})
        from pathlib import Path
        from fakes import fake_backends
        from harness.plan.selection import select
        from harness.core.progress import Progress
        from harness.run.request import RunRequest
        from harness.run.run import run
        log = []
        with Progress() as progress:
            folder, record = run(
                RunRequest(selection=select(files=["my_test.py"]), run_dir=Path("run")),
                progress=progress, backends=fake_backends(log))
        print(log)
        sys.exit(record.exit_code)
    """)
    env = os.environ | {"PYTHONPATH": str(HERE.parent.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_there(child: subprocess.Popen[str]) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        if "there" in line:
            return
    raise AssertionError(f"the child ended with {child.wait()}")


def test_killed_run_tells_how_far_it_came(tmp_path: Path) -> None:
    child = start_run(tmp_path, "time.sleep(60)")
    wait_until_there(child)
    child.kill()
    child.wait()
    child.communicate()
    on_disk = json.loads((tmp_path / "run" / "run.json").read_text())
    assert on_disk["state"] == "running"
    folder, record = load(tmp_path / "run")
    assert folder == tmp_path / "run"
    assert (record.state, record.verdict) == ("killed", Verdict.ERROR)
    assert record.doing == "test my_test::test_second"
    assert [(test.test, test.verdict) for test in record.tests] == [
        ("test_first", Verdict.PASS),
        ("test_second", None),
    ]
    assert record.planned == 3
    assert record.machines[0].boot_seconds == 0.25


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_run_cleanly_with_a_record(tmp_path: Path, number: signal.Signals) -> None:
    child = start_run(tmp_path, "time.sleep(60)")
    wait_until_there(child)
    child.send_signal(number)
    out, _ = child.communicate(timeout=20)
    assert child.returncode == 128 + number
    assert "'close'" in out, "the machine was torn down"
    _, record = load(tmp_path / "run")
    assert (record.state, record.verdict, record.exit_code) == (
        "interrupted",
        Verdict.ERROR,
        128 + number,
    )
    assert (
        record.error is not None and record.error.message == f"{number.name} while: test my_test::test_second"
    )
    assert [(test.test, test.verdict) for test in record.tests] == [
        ("test_first", Verdict.PASS),
        ("test_second", None),
    ]


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


@pytest.mark.parametrize("text", ["", "{", '{"id": 1}', '{"schema": 1}', "[]"])
def test_file_that_is_no_run_is_a_user_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert caught.value.hint


def test_missing_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run at"):
        load(tmp_path / "nothing")


def test_unknown_fields_of_a_newer_harness_are_ignored(tmp_path: Path) -> None:
    rec = recorder(tmp_path)
    rec.record.state = "finished"
    rec.save()
    text = json.loads(rec.path.read_text()) | {"new_field": 1}
    rec.path.write_text(json.dumps(text))
    assert load(tmp_path)[1].id == "x"


ROOT = HERE.parent.parent


def test_every_field_is_documented() -> None:
    """docs/run.json.md documents every field of every record."""
    import msgspec

    from harness.run import record as module

    text = (ROOT / "docs" / "run.json.md").read_text()
    structs = [
        s
        for s in vars(module).values()
        if isinstance(s, type) and issubclass(s, msgspec.Struct) and s is not msgspec.Struct
    ]
    assert len(structs) >= 10
    missing = [
        f"{s.__name__}.{name}" for s in structs for name in s.__struct_fields__ if f"`{name}`" not in text
    ]
    assert not missing


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "verdicts.md").read_text()
    for verdict, code in EXIT_CODES.items():
        assert f"| `{verdict}` | {code} |" in text


def test_a_run_of_schema_1_is_still_read(tmp_path: Path) -> None:
    """The document of commit 3770a5a: other names for two fields."""
    row = {"abi": "3l", "guest": "dom0", "path": "raw", "opened": 2, "sent": 2, "seen": 3, "lost": 0}
    test = {"cell": "c", "test": "t", "suite": "s", "guest": "dom0", "abi": "3l", "figures": {"cost": 5}}
    document = {
        "id": "a", "command": ["evh", "run"], "reproduce": "evh run", "started": now(), "schema": 1,
        "state": "finished", "rows": [row | {"doubled": 1, "seconds": 1.0}], "tests": [test],
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(document))
    _, record = load(tmp_path)
    assert record.schema == 2
    assert [r.duplicated for r in record.rows] == [1]
    assert record.tests[0].metrics == {"cost": 5}
