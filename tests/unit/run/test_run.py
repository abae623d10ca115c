# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole run: how it ends, and what it leaves, on a fake machine with real consoles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import fake_backends, fake_built

from harness.core.errors import InfraError
from harness.core.records import Accelerator, Built, Verdict
from harness.machine import bare
from harness.monitor import ktap
from harness.run.record import AcceleratorRecord, load
from harness.run.request import RunRequest
from harness.run.run import root_of


def test_root_is_the_folder_that_all_files_share(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/one.py", "two.py"):
        (tmp_path / name).touch()
    assert root_of([f"{tmp_path}/a/one.py::test_x[a/b]"]) == tmp_path / "a"
    assert root_of([f"{tmp_path}/a/one.py", f"{tmp_path}/two.py"]) == tmp_path
    assert root_of([str(tmp_path)]) == tmp_path


HERE = Path(__file__).parents[1]


def start_run(folder: Path, body: str, *, allowance: float = 1.0) -> subprocess.Popen[str]:
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
        from harness.run import recorder
        from harness.run.run import run
        recorder.ALLOWANCE = {allowance}
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


@pytest.mark.parametrize("allowance", [1.0, -1.0], ids=["run.json", "journal"])
def test_killed_run_tells_how_far_it_came(tmp_path: Path, allowance: float) -> None:
    child = start_run(tmp_path, "time.sleep(60)", allowance=allowance)
    wait_until_there(child)
    child.kill()
    child.wait()
    child.communicate()
    on_disk = json.loads((tmp_path / "run" / "run.json").read_text())
    assert on_disk["state"] == "running"
    if allowance > 0:
        assert [test["verdict"] for test in on_disk["tests"]] == ["pass", None]
        assert on_disk["doing"] == "test my_test::test_second"
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


def must_not_build() -> Built:
    raise AssertionError("built although collection had already shown that there is nothing to run")


def test_nothing_selected_is_not_green(evh) -> None:
    got = evh(
        "def test_mine(machine): pass",
        keyword="no_such_name",
        backends=fake_backends([], build=must_not_build),
    )
    assert got.record.tests == []
    assert got.record.exit_code == 6


def test_user_file_that_cannot_be_read_is_a_user_error(evh) -> None:
    got = evh("def broken(:", backends=fake_backends([], build=must_not_build))
    assert (got.record.state, got.record.exit_code) == ("failed", 2)
    assert got.record.error is not None and "SyntaxError" in got.record.error.message


def test_broken_keyword_expression_is_a_user_error(evh) -> None:
    got = evh("def test_mine(machine): pass", keyword="a and (")
    assert got.record.exit_code == 2
    assert got.record.error is not None and "a and (" in got.record.error.message


def test_build_error_is_in_the_record_with_its_hint(evh, tmp_path: Path) -> None:
    def no_space() -> Built:
        raise InfraError("no space left", hint="evh clean")

    log: list[str] = []
    got = evh("def test_mine(machine): pass", backends=fake_backends(log, build=no_space))
    assert (got.record.state, got.record.exit_code, got.record.doing) == ("failed", 4, "build")
    assert got.record.error is not None and got.record.error.hint == "evh clean"


def test_an_interrupt_that_a_test_swallows_ends_the_run_before_the_next(evh) -> None:
    got = evh("""
        import os, signal, time

        def test_a(machine):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            except KeyboardInterrupt:
                pass

        def test_b(machine): pass
    """)
    assert list(got.verdicts) == ["test_a"]
    assert (got.record.state, got.record.exit_code) == ("interrupted", 130)


THREE = """
    def test_one(machine): pass
    def test_two(machine): pass
    def test_three(machine): pass
"""


def test_environment_reaches_no_test(evh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--maxfail=1 --deselect my_test.py::test_two")
    (tmp_path.parent / "conftest.py").write_text("raise RuntimeError('of a folder above')")
    try:
        got = evh(THREE)
    finally:
        (tmp_path.parent / "conftest.py").unlink()
    assert list(got.verdicts.values()) == [Verdict.PASS] * 3
    assert os.environ["PYTEST_ADDOPTS"].startswith("--maxfail")
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ


def test_planned_cells_without_a_verdict_are_an_error(evh) -> None:
    stops = "def test_one(machine, request): request.session.shouldstop = 'x'"
    got = evh(THREE.replace("def test_one(machine): pass", stops))
    assert got.verdicts == {"test_one": Verdict.PASS}
    assert (got.record.verdict, got.record.exit_code) == (Verdict.ERROR, 4)
    assert got.record.error and "2 of 3 planned cells were not run" in got.record.error.message
    assert "test_two" in got.record.error.message


# The accelerator.

KVM = Accelerator(kind="kvm", reason="KVM: kvm_amd with nested virtualisation", proven=False)
FELL_BACK = Accelerator(kind="tcg", reason="TCG: KVM looked usable, but a trial boot of Xen on it hung")


def test_every_boot_uses_the_accelerator_that_was_proven(evh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine, a bare guest and a KUnit kernel; run.json and the output say what was used."""
    log: list[str] = []
    used: dict[str, Accelerator] = {}

    def bare_boot(
        spec: bare.BareSpec, *, accelerator: Accelerator, run_dir: Path, **_: object
    ) -> bare.BareRun:
        used["bare"] = accelerator
        return boot_of(run_dir)

    def kunit_boot(kernel: Path, *, accelerator: Accelerator, run_dir: Path, **_: object) -> bare.BareRun:
        used["kunit"] = accelerator
        return boot_of(run_dir)

    def boot_of(run_dir: Path) -> bare.BareRun:
        console = run_dir / "console-x.log"
        console.write_text("ok 1 a\n")
        results = ktap.parse(["KTAP version 1", "1..1", "ok 1 a"])
        return bare.BareRun(
            verdict=Verdict.PASS, reason="", layer="", results=results, console=console, seconds=1.0,
            time_scale=1.75,
        )  # fmt: skip

    def prove(request: RunRequest, built: Built, accelerator: Accelerator, folder: Path) -> Accelerator:
        log.append("prove")
        assert accelerator is KVM
        return FELL_BACK

    monkeypatch.setattr("harness.run.boots.bare.boot_spec", bare_boot)
    monkeypatch.setattr("harness.run.kunit.boot", kunit_boot)
    backends = replace(fake_backends(log), choose=lambda want: KVM, prove=prove)
    got = evh(
        """
        def test_machine(machine): assert machine.accelerator.kind == "tcg"
        def test_bare(bare): assert bare("bare-pv64").case("a").ok
        @pytest.mark.parametrize("guest", ["kunit64"])
        def test_kunit(kunit, guest): assert kunit(guest).case("a").ok
        """,
        backends=backends,
    )
    assert set(got.verdicts.values()) == {Verdict.PASS}, got.said
    assert log[0] == "prove" and log.count("prove") == 1
    assert used == {"bare": FELL_BACK, "kunit": FELL_BACK}
    said = [line.split("] ", 1)[1] for line in got.said.splitlines() if "accelerator: " in line]
    assert said == [f"accelerator: {KVM.reason}; a trial boot has yet to prove it", FELL_BACK.line]
    assert got.record.accelerator == AcceleratorRecord(kind="tcg", reason=FELL_BACK.reason)
    assert [(boot.accelerator, boot.time_scale) for boot in got.record.boots] == [("tcg", 1.75)]
    assert {c.time_scale for c in got.record.consoles if c.layer == "kunit64"} == {1.75}


def test_a_kvm_that_fails_though_it_was_requested_ends_the_run(evh) -> None:
    def prove(*_: object) -> Accelerator:
        raise InfraError("KVM was requested, but a trial boot of Xen on it hung", hint="use --accel auto")

    log: list[str] = []
    backends = replace(fake_backends(log), choose=lambda want: KVM, prove=prove)
    got = evh("def test_machine(machine): pass", backends=backends)
    assert (got.record.verdict, got.record.exit_code, log) == (Verdict.ERROR, 4, [])
    assert got.record.accelerator is not None and not got.record.accelerator.proven


@pytest.mark.parametrize(("minutes", "seconds"), [(0, 3 * 3600), (90, 3 * 3600 + 6 * 90 * 60)])
def test_the_backstop_grows_with_the_storms(evh, minutes: int, seconds: int) -> None:
    got = evh(
        f"""
        def test_it(request, storm_seconds):
            assert request.config.getoption("timeout") == {seconds}
            assert storm_seconds == {minutes * 60 or 8}
        """,
        minutes=minutes,
    )
    assert set(got.verdicts.values()) == {Verdict.PASS}, got.said


def edited_while_it_is_built(evh, tmp_path: Path, before: str, after: str):
    """A run during whose build the test file gets another text."""
    log: list[str] = []

    def build() -> Built:
        (tmp_path / "my_test.py").write_text("import pytest\n" + after)
        return fake_built()

    return evh(before, backends=fake_backends(log, build=build))


@pytest.mark.parametrize(
    ("after", "verdicts"),
    [
        ("def test_a(): assert False\n", {"test_a": Verdict.FAIL}),
        ("def test_a(): pass\ndef test_b(): pass\n", {"test_a": Verdict.PASS, "test_b": Verdict.PASS}),
        ("def test_b(): pass\n", {"test_b": Verdict.PASS}),
    ],
    ids=["a body", "one more", "another name"],
)
def test_edit_during_the_build_is_what_runs(evh, tmp_path: Path, after: str, verdicts: object) -> None:
    outcome = edited_while_it_is_built(evh, tmp_path, "def test_a(): pass\n", after)
    assert outcome.verdicts == verdicts
    assert outcome.record.planned == len(outcome.record.tests)
    told = "the tests were edited during the build" in outcome.said
    assert told == (set(outcome.verdicts) != {"test_a"})


def test_edit_of_a_helper_beside_the_tests_is_what_runs(evh, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("ok = True\n")

    def build() -> Built:
        (tmp_path / "helper.py").write_text("ok = False and None\n")
        return fake_built()

    outcome = evh("import helper\ndef test_a(): assert helper.ok\n", backends=fake_backends([], build=build))
    assert outcome.verdicts == {"test_a": Verdict.FAIL}


@pytest.mark.parametrize("name", ["test_a", "test_b"])
def test_edit_that_needs_what_was_not_built_is_refused(evh, tmp_path: Path, name: str) -> None:
    after = f'@pytest.mark.needs("xen-without-3l")\ndef {name}(): pass\n'
    outcome = edited_while_it_is_built(evh, tmp_path, "def test_a(): pass\n", after)
    assert outcome.record.error is not None
    assert "need xen-without-3l: run again" in outcome.record.error.message
    assert outcome.record.exit_code == 2
    assert outcome.record.tests == []


def test_file_that_is_broken_during_the_build_is_an_error(evh, tmp_path: Path) -> None:
    outcome = edited_while_it_is_built(evh, tmp_path, "def test_a(): pass\n", "def test_a(: pass\n")
    assert outcome.record.error is not None and "cannot be read" in outcome.record.error.message
    assert outcome.record.verdict is not Verdict.PASS
