# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin and a whole run around it, on a fake machine with real consoles."""

from __future__ import annotations

import io
import os
import sys
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import BOOT, PANIC, FakeMachine, fake_backends

from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.core.records import Built, Verdict
from harness.guest import kmemleak
from harness.machine import bare
from harness.monitor import ktap
from harness.monitor.waits import ConsoleLost
from harness.plan.selection import select
from harness.report.tables import schedules_line
from harness.run.backends import Backends
from harness.run.record import RunRecord, TestResult, load
from harness.run.request import RunRequest
from harness.run.run import run

pytest_plugins = ["pytester"]


@dataclass
class Outcome:
    record: RunRecord
    folder: Path
    log: list[str]
    said: str

    @property
    def verdicts(self) -> dict[str, Verdict | None]:
        return {test.test: test.verdict for test in self.record.tests}

    def test(self, name: str) -> TestResult:
        return next(test for test in self.record.tests if test.test == name)

    def junit(self) -> dict[str, list[str]]:
        """For each test case name, the tags of its child elements."""
        cases: dict[str, list[str]] = {}
        for case in ET.parse(self.folder / "junit.xml").iter("testcase"):
            cases.setdefault(case.attrib["name"], []).extend(
                child.tag for child in case if child.tag not in ("properties", "system-out", "system-err")
            )
        return cases


@pytest.fixture
def evh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the text of a test file as `evh run FILE` would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(
        text: str,
        *,
        backends: Backends | None = None,
        keep: bool = False,
        at_boot: bytes = BOOT,
        **words: object,
    ) -> Outcome:
        log: list[str] = []
        sys.modules.pop("my_test", None)  # pytest imports it in this process, so each text needs a new module
        file = tmp_path / "my_test.py"
        file.write_text("import pytest\n" + textwrap.dedent(text))
        request = RunRequest(
            selection=select(files=[str(file)], **words),
            keep=keep,
            command=("evh", "run", "my_test.py"),
        )  # type: ignore[arg-type]
        out = io.StringIO()
        with Progress(out) as progress:
            chosen = backends or fake_backends(log, at_boot=at_boot)
            folder, record = run(request, progress=progress, backends=chosen)
        _, on_disk = load(folder)
        assert on_disk == record, "run.json is what the run returned"
        return Outcome(record=record, folder=folder, log=log, said=out.getvalue())

    return go


def test_ten_line_test_of_a_user(evh) -> None:
    got = evh("""
        def test_mine(machine, dom0, start_guest, row):
            guest = start_guest(name="a", kind="pv64")
            assert dom0.name == "dom0" and guest.ssh.name == "guest:a"
            row(abi="3l", guest="pv64", path="dev", opened=3, sent=3, seen=3, lost=0, duplicated=0,
                seconds=0.5)
    """)
    assert got.verdicts == {"test_mine": Verdict.PASS}
    assert (got.record.state, got.record.exit_code) == ("finished", 0)
    assert got.log == ["boot 3l 4096", "start a", "destroy a", "close"]
    assert [(r.opened, r.test) for r in got.record.rows] == [(3, got.test("test_mine").cell)]
    assert [m.boot_seconds for m in got.record.machines] == [0.25]
    assert {c.layer for c in got.record.consoles} == {"xen", "dom0", "guest:a"}
    assert got.record.sources[0].sha256 == "1" * 64
    properties = {
        p.attrib["name"]: p.attrib["value"] for p in ET.parse(got.folder / "junit.xml").iter("property")
    }
    assert (properties["row1.opened"], properties["cell"]) == ("3", got.test("test_mine").cell)
    assert "None" not in properties.values()
    (case,) = ET.parse(got.folder / "junit.xml").iter("testcase")
    assert case.attrib["classname"] == "my_test"
    assert got.said.splitlines()[0].endswith("accelerator: TCG: a test")
    assert any(step.step.startswith("boot machine 1") for step in got.record.timings)


def test_equal_machines_are_shared_and_tests_grouped_by_machine(evh) -> None:
    got = evh("""
        @pytest.mark.machine(abi="3l", memory_mib=8192)
        def test_a(machine): pass
        @pytest.mark.machine(abi="fifo")
        def test_b(machine): pass
        @pytest.mark.machine(memory_mib=8192)
        def test_c(machine): assert machine.spec.memory_mib == 8192
    """)
    assert got.log == ["boot 3l 8192", "close", "boot fifo 4096", "close"]
    assert list(got.verdicts) == ["test_a", "test_c", "test_b"]
    assert [test.machine for test in got.record.tests] == [1, 1, 2]


def test_failed_assertion_is_fail_with_the_guests_console_attached(evh) -> None:
    got = evh("""
        def test_no(start_guest):
            start_guest(name="a", kind="pv64").say(b"last words of a\\n")
            assert 4095 == 4096
    """)
    assert got.verdicts == {"test_no": Verdict.FAIL}
    assert got.record.exit_code == 1
    assert "4095 == 4096" in got.test("test_no").reason
    assert "last words of a" in got.test("test_no").evidence
    assert "last words of a" in (got.folder / "pytest.log").read_text()
    assert got.test("test_no").reproduce == f"evh repro {got.test('test_no').cell}"


def test_crash_line_turns_a_passing_test_into_a_crash(evh) -> None:
    got = evh("""
        def test_quiet(machine): machine.xen_panics()
        def test_next(machine): pass
    """)
    assert got.verdicts == {"test_quiet": Verdict.CRASH, "test_next": Verdict.PASS}
    assert got.test("test_quiet").layer == "xen"
    assert "Assertion 'ok' failed" in got.test("test_quiet").evidence
    assert got.record.exit_code == 3
    assert got.log == ["boot 3l 4096", "close", "boot 3l 4096", "close"], "the machine is not used again"
    assert got.record.machines[0].lost and not got.record.machines[1].lost
    assert got.junit() == {"test_quiet": ["failure"], "test_next": []}


def test_crash_that_shows_after_its_test_is_not_lost(evh) -> None:
    # A guest's last console lines may come late, through dom0's daemons; another test runs by then.
    got = evh("""
        seen = []
        def test_first(machine): seen.append(machine)
        def test_second(): seen[0].xen_panics()  # it uses no machine itself
        def test_third(machine): pass
    """)
    assert got.verdicts == {
        "test_first": Verdict.CRASH,
        "test_second": Verdict.PASS,
        "test_third": Verdict.PASS,
    }
    assert "after the test" in got.test("test_first").reason
    assert got.record.exit_code == 3
    assert got.log.count("boot 3l 4096") == 2
    assert got.junit()["test_first"] == ["error"], "JUnit has a failed case of that name"


def test_lost_machine_gives_its_verdict_and_a_fresh_one_next(evh) -> None:
    got = evh("""
        from harness.monitor.waits import Silence, MachineDied
        def test_hang(machine): raise Silence("not a sound for 60 s")
        def test_died(machine):
            try: raise MachineDied("QEMU is gone")
            except MachineDied as e: raise OSError("channel closed") from e
        def test_fine(machine): pass
    """)
    assert got.verdicts == {
        "test_hang": Verdict.HANG,
        "test_died": Verdict.CRASH,
        "test_fine": Verdict.PASS,
    }
    assert got.test("test_died").layer == "qemu"
    assert got.log.count("boot 3l 4096") == 3


def test_death_that_a_test_did_not_see_or_swallowed_is_a_crash_of_its_own(evh) -> None:
    got = evh("""
        def test_blind(machine): machine.dies()
        def test_swallows(machine):
            machine.dies()
            try: machine.watchdog.check()
            except Exception: pass
        def test_next(machine): pass
    """)
    assert list(got.verdicts.values()) == [Verdict.CRASH, Verdict.CRASH, Verdict.PASS]
    assert {test.layer for test in got.record.tests} == {"qemu", ""}
    assert got.log.count("boot 3l 4096") == 3


def test_machine_that_never_boots_is_tried_twice_for_all_tests(evh) -> None:
    got = evh(
        """
        @pytest.mark.parametrize("n", range(4))
        def test_it(machine, n): pass
    """,
        at_boot=PANIC,
    )
    assert set(got.verdicts.values()) == {Verdict.CRASH}
    assert got.log.count("boot 3l 4096") == 2
    assert {test.layer for test in got.record.tests} == {"xen"}
    assert got.record.machines[0].boot_seconds is None
    assert "Panic on CPU 0" in got.test("test_it[0]").evidence


def test_row_of_a_loss_without_an_assertion_is_no_pass(evh) -> None:
    got = evh("""
        def test_loss(row, machine):
            row(abi="3l", guest="dom0", path="raw", opened=10, sent=10, seen=9, lost=1, duplicated=0,
                seconds=1)
    """)
    assert got.verdicts == {"test_loss": Verdict.FAIL}
    assert got.junit() == {"test_loss": ["failure"]}, "JUnit says the same"


def test_skips_alone_are_not_green(evh) -> None:
    got = evh("""
        @pytest.mark.skip(reason="needs 64 GiB")
        def test_big(machine): pass
    """)
    assert got.verdicts == {"test_big": Verdict.SKIP}
    assert got.test("test_big").reason == "needs 64 GiB"
    assert (got.record.verdict, got.record.exit_code) == (Verdict.SKIP, 6)
    assert got.log == []


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


def test_expected_failure_is_a_skip_and_unexpected_success_a_fail(evh) -> None:
    got = evh("""
        @pytest.mark.xfail(reason="not yet")
        def test_a(): assert False
        @pytest.mark.xfail(reason="not yet", strict=True)
        def test_b(): pass
    """)
    assert got.verdicts == {"test_a": Verdict.SKIP, "test_b": Verdict.FAIL}
    assert got.test("test_a").reason == "expected failure: not yet"


def test_guest_and_abi_choose_cells(evh) -> None:
    text = """
        @pytest.mark.parametrize("abi", ["2l", "fifo", "3l"])
        @pytest.mark.parametrize("guest", ["pv64", "pvh64"])
        def test_it(guest, abi, machine): pass
        @pytest.mark.parametrize("abi", ["2l", "3l"])
        def test_dom0(abi, machine): assert machine.spec.abi == abi
    """
    assert list(evh(text, guests=["pv64"], abis=["fifo"]).verdicts) == ["test_it[pv64-fifo]"]
    assert sorted(evh(text, guests=["dom0"]).verdicts) == ["test_dom0[2l]", "test_dom0[3l]"]


def test_abi_option_is_the_abi_of_a_test_that_does_not_say(evh) -> None:
    got = evh("def test_mine(machine): assert machine.spec.abi == 'fifo'", abis=["fifo"])
    assert got.verdicts == {"test_mine": Verdict.PASS}


def test_cell_id_selects_exactly_its_test(evh) -> None:
    text = """
        @pytest.mark.parametrize("guest", ["pv64", "pvh64"])
        def test_it(guest, machine): pass
    """
    cell = evh(text).test("test_it[pvh64]").cell
    assert cell == "xen-4.20+linux-6.12/release/pvh64/3l/my_test::test_it[pvh64]/1"
    assert list(evh(text, cell=cell).verdicts) == ["test_it[pvh64]"]


def test_user_file_that_cannot_be_read_is_a_user_error(evh) -> None:
    got = evh("def broken(:", backends=fake_backends([], build=must_not_build))
    assert (got.record.state, got.record.exit_code) == ("failed", 2)
    assert got.record.error is not None and "SyntaxError" in got.record.error.message


def test_wrong_marker_word_is_a_user_error(evh) -> None:
    got = evh("""
        @pytest.mark.machine(ram=1)
        def test_mine(machine): pass
    """)
    assert got.record.exit_code == 2
    assert got.record.error is not None and "memory_mib" in got.record.error.message


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


def test_keep_leaves_guests_and_machine_of_the_first_failure(evh) -> None:
    got = evh(
        """
        def test_bad(start_guest):
            start_guest(name="a", kind="pv64")
            assert False
        def test_not_run(machine): pass
    """,
        keep=True,
    )
    assert got.log == ["boot 3l 4096", "start a", "hold", "close"]
    assert list(got.verdicts) == ["test_bad"]


def test_fixtures_without_evh_run_say_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(dom0): pass")
    out = pytester.runpytest("-p", "no:evh", "-p", "harness.run.plugin")
    out.assert_outcomes(errors=1)
    out.stdout.fnmatch_lines(["*this test needs a nested Xen*"])


def test_each_seed_is_a_cell(evh) -> None:
    text = """
        @pytest.mark.parametrize("case", ["a", "b"])
        def test_s(seed, case):
            assert (seed, case) != (3, "b")
        def test_plain(): pass
    """
    got = evh(text, seeds="2-3")
    assert [(t.test, t.seed, t.verdict) for t in got.record.tests] == [
        ("test_s[a]", 2, Verdict.PASS),
        ("test_s[b]", 2, Verdict.PASS),
        ("test_s[a]", 3, Verdict.PASS),
        ("test_s[b]", 3, Verdict.FAIL),
        ("test_plain", 1, Verdict.PASS),
    ]
    bad = got.record.tests[3].cell
    assert bad.endswith("::test_s[b]/3")
    assert [(t.cell, t.verdict) for t in evh(text, cell=bad).record.tests] == [(bad, Verdict.FAIL)]
    assert [t.seed for t in evh(text).record.tests] == [1, 1, 1], "without --seed it is 1"


def test_seed_that_nobody_uses_is_refused(evh) -> None:
    got = evh("def test_plain(): pass", seeds="5")
    assert got.record.exit_code == 2
    assert "seed" in got.record.error.message


def test_flavour_is_in_the_cell(evh) -> None:
    got = evh("def test_plain(): pass", flavour="ubsan")
    assert "/ubsan/" in got.record.tests[0].cell
    assert got.record.flavour == "ubsan"


LEAK = "unreferenced object 0xffff888003a5c2a0 (size 96):\n  backtrace:\n    alloc_ports+0x10\n"
ONE_GUEST = "def test_a(dom0, start_guest): start_guest(name='a', kind='pv64')"


@pytest.mark.parametrize("leaks", [None, "guest:a", "dom0"])
def test_debug_kernels_are_asked_for_leaks(evh, monkeypatch: pytest.MonkeyPatch, leaks: str | None) -> None:
    asked: list[str] = []
    ask = kmemleak.ask

    def note(ssh: SimpleNamespace) -> None:
        asked.append(ssh.name)
        said = SimpleNamespace(out=LEAK if ssh.name == leaks else "")
        ask(SimpleNamespace(name=ssh.name, run=lambda command, timeout: said))  # type: ignore[arg-type]

    monkeypatch.setattr(kmemleak, "ask", note)
    got = evh(ONE_GUEST, flavour="linux-debug")
    assert asked == ["guest:a", "dom0"]
    test = got.record.tests[0]
    assert (test.verdict, test.layer) == ((Verdict.CRASH, leaks) if leaks else (Verdict.PASS, ""))
    assert not leaks or "0xffff888003a5c2a0 (size 96)" in test.reason
    assert got.log[-2:] == ["destroy a", "close"]


@pytest.mark.parametrize(
    "text",
    [
        "def test_a(dom0, start_guest): start_guest(name='a', kind='pv64'); assert False",
        "def test_a(dom0, start_guest): start_guest(name='a', kind='pv64', kernel='stock')",
        "def test_a(dom0, start_guest): g = start_guest(name='a', kind='pv64'); g.machine.guests.clear()",
    ],
    ids=["of a test that failed", "another kernel", "gone"],
)
def test_who_is_not_asked_for_leaks(evh, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    asked: list[str] = []
    monkeypatch.setattr(kmemleak, "ask", lambda ssh: asked.append(ssh.name))
    evh(text, flavour="linux-debug")
    assert asked == ([] if "assert False" in text else ["dom0"])
    asked.clear()
    evh(ONE_GUEST)
    assert asked == [], "release kernels have no kmemleak"


@pytest.mark.parametrize("silent", [None, "guest:a", "dom0"])
def test_consoles_are_proven_after_each_test(
    evh, monkeypatch: pytest.MonkeyPatch, silent: str | None
) -> None:
    asked: list[str] = []

    def prove(machine: FakeMachine, shells: dict[str, object]) -> None:
        asked.extend(shells)
        if silent in shells:
            raise ConsoleLost(silent, "nothing arrived")

    monkeypatch.setattr(FakeMachine, "prove_consoles", prove)
    (test,) = evh(ONE_GUEST).record.tests
    assert asked == ["guest:a", "dom0"]
    assert (test.verdict, test.layer) == ((Verdict.ERROR, silent) if silent else (Verdict.PASS, ""))
    asked.clear()
    evh("def test_a(dom0, start_guest): start_guest(name='a', kind='pv64'); assert False")
    assert asked == [], "a failed test is not made an error"


I386 = '@pytest.mark.parametrize("guest", ["pvh32"])\ndef test_a(guest, dom0): pass'
OTHER_XEN = '@pytest.mark.machine(xen="xen-without-3l")\ndef test_a(dom0): pass'
NEEDS = '@pytest.mark.needs("i386")\ndef test_a(dom0): pass'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def test_a(bare): pass", set()),
        ("def test_a(dom0): pass", {"linux"}),
        (I386, {"linux", "i386"}),
        (NEEDS, {"linux", "i386"}),
        (OTHER_XEN, {"linux", "xen-without-3l"}),
    ],
)
def test_what_a_test_wants_is_built(evh, text: str, parts: set[str]) -> None:
    told: list[frozenset[str]] = []
    log: list[str] = []
    backends = fake_backends(log)

    def build(request: RunRequest, progress: Progress, parts: frozenset[str]) -> Built:
        told.append(parts)
        return backends.build(request, progress, parts)

    evh(text, backends=replace(backends, build=build))
    assert told == [parts]


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


def test_old_names_work_for_one_release_and_are_noted(evh) -> None:
    got = evh("""
        from harness import life
        from harness.guest.load import Tally

        def test_of_before(machine, dom0, figure, row):
            figure("p99 us", 12)
            row(abi="3l", guest="dom0", path="raw", opened=3, sent=3, seen=3, lost=0, doubled=0, seconds=0.5)
            with machine.consoles.meant("dom0", "words"):
                pass
            assert callable(life.migrate)
            zeros = dict.fromkeys(Tally.__dataclass_fields__, 0)
            assert Tally(**zeros | {"duplicated": 7}).doubled == 7
    """)
    assert got.verdicts == {"test_of_before": Verdict.PASS}
    assert got.test("test_of_before").metrics == {"p99 us": 12}
    assert [r.duplicated for r in got.record.rows] == [0]
    notes = "\n".join(got.record.notes)
    names = "metric row(duplicated=) consoles.expect_crash() harness.guest.lifecycle duplicated"
    for new in names.split():
        assert f"is now {new}; the old name goes" in notes


THREE = """
    def test_one(machine): pass
    def test_two(machine): pass
    def test_three(machine): pass
"""


def test_hang_of_a_test_that_is_expected_to_fail_is_a_hang(evh) -> None:
    got = evh("""
        from harness.monitor.waits import Silence

        @pytest.mark.xfail(reason="not yet")
        def test_hangs(machine):
            raise Silence("no output for 9 s")

        def test_next(machine): pass
    """)
    assert got.verdicts == {"test_hangs": Verdict.HANG, "test_next": Verdict.PASS}
    assert got.log.count("boot 3l 4096") == 2, "the machine that hung serves no other test"


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
