# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: verdicts, and machines that tests share, on a fake machine with real consoles."""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from fakes import PANIC

from harness.build.recipes import pair_name
from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.dev import repro
from harness.plan.selection import Selection, pytest_targets, select
from harness.plan.suites import SUITES
from harness.run import plugin
from harness.run.pool import Machines
from harness.run.record import RunRecord, TestResult, load
from harness.run.recorder import Recorder, now
from harness.run.run import run_pytest
from harness.run.session import SESSION, Session


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
    assert got.junit()["test_first"] == ["failure"]


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


def test_skips_alone_are_not_green(evh) -> None:
    got = evh("""
        @pytest.mark.skip(reason="needs 64 GiB")
        def test_big(machine): pass
    """)
    assert got.verdicts == {"test_big": Verdict.SKIP}
    assert got.test("test_big").reason == "needs 64 GiB"
    assert (got.record.verdict, got.record.exit_code) == (Verdict.SKIP, 6)
    assert got.log == []


def test_expected_failure_is_a_skip_and_unexpected_success_a_fail(evh) -> None:
    got = evh("""
        @pytest.mark.xfail(reason="not yet")
        def test_a(): assert False
        @pytest.mark.xfail(reason="not yet", strict=True)
        def test_b(): pass
    """)
    assert got.verdicts == {"test_a": Verdict.SKIP, "test_b": Verdict.FAIL}
    assert got.test("test_a").reason == "expected failure: not yet"


def test_seed_that_nobody_uses_is_refused(evh) -> None:
    got = evh("def test_plain(): pass", seeds="5")
    assert got.record.exit_code == 2
    assert "seed" in got.record.error.message


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


SKIPPED_AND_FAILED = "with subtests.test('a'): pytest.skip('x')\n    with subtests.test('b'): assert 1 == 2"


@pytest.mark.parametrize(
    ("body", "verdict", "reason"),
    [
        ("with subtests.test('a'): pytest.skip('x')\n    with subtests.test('b'): pass", Verdict.PASS, ""),
        ("with subtests.test('a'): assert 1 == 2", Verdict.FAIL, "1 == 2"),
        (SKIPPED_AND_FAILED, Verdict.FAIL, "1 == 2"),
        ("with subtests.test('a'): assert 1 == 2\n    with subtests.test('b'): pass", Verdict.FAIL, "1 == 2"),
        ("with subtests.test('a'): pass\n    pytest.skip('all of it')", Verdict.SKIP, "all of it"),
        ("with subtests.test('a'): raise Silence('not a sound')", Verdict.HANG, "not a sound"),
    ],
    ids=["a skipped one", "a failed one", "skipped, failed", "failed, passed", "the test itself", "a hang"],
)
def test_subtests(evh, body: str, verdict: Verdict, reason: str) -> None:
    text = f"from harness.monitor.waits import Silence\ndef test_a(machine, subtests):\n    {body}\n"
    got = evh(text)
    (test,) = got.record.tests
    assert test.verdict is verdict and reason in test.reason
    tags = {Verdict.PASS: [], Verdict.SKIP: ["skipped"]}.get(verdict, ["failure"])
    assert got.junit() == {"test_a": tags}, "one case, one result"


def test_a_machine_is_not_used_again_after_an_error(evh) -> None:
    got = evh("""
        def test_a(machine): raise KeyError("a bug")
        def test_b(machine): pass
    """)
    assert list(got.verdicts.values()) == [Verdict.ERROR, Verdict.PASS]
    assert got.log.count("boot 3l 4096") == 2


def test_a_crash_ends_a_pause_of_a_test_at_once(evh) -> None:
    got = evh("""
        import threading

        def test_storm(machine):
            threading.Timer(0.2, machine.dies).start()
            machine.pause(600)
    """)
    assert got.verdicts == {"test_storm": Verdict.CRASH}
    assert got.record.seconds < 60


def test_control_characters_leave_every_file_readable_and_the_terminal_alone(evh) -> None:
    """A guest may print anything, and a test may fail with it: XML and JSON stay valid."""
    got = evh(r"""
        EVIL = "\x1b]0;hostile\x07\x1b[2J\x9b1m \x00 ]]> </testcase><!-- \u202e"
        def test_no(start_guest, row, metric):
            start_guest(name="a", kind="pv64").say(EVIL.encode())
            start_guest(name="b", kind="pv64").say(b"\xff\xfe\x1b[2J\n")
            row(abi="3l", guest="pv64", path="dev", opened=1, sent=1, seen=1, lost=0, duplicated=0,
                seconds=0.5, note=EVIL)
            metric(EVIL, 1)
            print(EVIL)
            assert EVIL == "x", EVIL
        def test_skipped(): pytest.skip(EVIL)
        def test_no_unicode(): assert not "\ud800", "\ud800"
    """, same=False)
    assert got.verdicts == {
        "test_no": Verdict.FAIL, "test_skipped": Verdict.SKIP, "test_no_unicode": Verdict.FAIL
    }  # fmt: skip
    assert "failure" in got.junit()["test_no"], "JUnit is valid XML"
    assert load(got.folder)[1].rows[0].note
    assert not {"\x1b", "\x07", "\x9b", "\x00", "\u202e"} & set(got.said)


class Seen:
    """Keeps what pytest collected, before the plugin selects."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []
        self.config: Any = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.items, self.config = list(items), config


def collected(folder: Path, selection: Selection) -> tuple[Session, Seen]:
    """Collect as `evh run` does."""
    record = RunRecord(id="x", command=["evh"], reproduce="evh", started=now(), plan=selection.describe())
    recorder = Recorder(run_dir=folder, record=record)
    progress = Progress()
    machines: Any = Machines(make=None, recorder=recorder, progress=progress)  # type: ignore[arg-type]
    session = Session(
        machines=machines, recorder=recorder, progress=progress, selection=selection, base=pair_name(),
        start_guest=None,  # type: ignore[arg-type]
    )  # fmt: skip
    session.xtf = selection.xtf
    seen = Seen()
    run_pytest(session, targets=pytest_targets(selection), plugins=[seen], collect_only=True)
    return session, seen


def planned_again(folder: Path, session: Session, seen: Seen, items: list[pytest.Item], cell: str) -> Any:
    """The cells that the line `evh repro CELL` plans after the run of ``session``."""
    test = TestResult(cell=cell, test="", suite="", guest="", abi="", verdict=Verdict.FAIL)
    earlier = repro.Earlier(folder=folder, record=session.recorder.record, test=test)
    other = Session(
        machines=session.machines, recorder=session.recorder, progress=session.progress,
        selection=repro.request_of(cell, earlier).selection, base=session.base,
        start_guest=None,  # type: ignore[arg-type]
    )  # fmt: skip
    seen.config.stash[SESSION] = other
    plugin.pytest_collection_modifyitems(seen.config, items)
    return other


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """What stands for a folder of XTF's kernels."""
    folder = tmp_path / "xtf"
    folder.mkdir()
    for name in ("test-pv64-selftest", "test-pv32pae-xsa-317"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("abis", [(), ("2l",), ("fifo",), ("3l",), ("2l", "fifo")])
def test_each_line_that_repeats_a_cell_plans_that_cell_on_the_same_machine(
    tmp_path: Path, kernels: Path, abis: tuple[str, ...]
) -> None:
    """All cells of all suites, with each --abi. Guests that run only when named are named."""
    guests = {guest for suite in SUITES.values() for guest in suite.named_only}
    total = 0
    for named in ((), tuple(guests)):
        selection = select(suites=tuple(SUITES), abis=abis, guests=named, xtf=kernels)
        session, seen = collected(tmp_path, selection)
        assert not session.collect_errors
        session.recorder.record.options["xtf"] = str(kernels)
        machines = {}
        by_file = defaultdict(list)
        for item in seen.items:
            by_file[item.path].append(item)
            machines[session.cell(item).id] = session.spec(item)
        files = {session.cell(item).id: item.path for item in seen.items}
        for cell in session.planned:
            kept = list(by_file[files[cell]])
            again = planned_again(tmp_path, session, seen, kept, cell)
            assert again.planned == (cell,)
            (item,) = kept
            assert again.spec(item) == machines[cell]
        total += len(session.planned)
    assert total > (200 if not abis else 20)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Collect a user's files; gives the planned cells and pytest's log."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(*files: tuple[str, str], ask: tuple[str, ...] = (), **words: Any) -> tuple[tuple[str, ...], str]:
        for name in ("my_test", "a", "b"):
            sys.modules.pop(name, None)
        for name, text in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("import pytest\n" + textwrap.dedent(text))
        asked = [str(tmp_path / name) for name in ask or [name for name, _ in files]]
        session, _ = collected(tmp_path, select(files=asked, **words))
        return session.planned, (tmp_path / "pytest.log").read_text()

    return go


def test_a_cell_of_an_abi_option_is_found_without_that_option(own: Any) -> None:
    """`evh run --cell ID FILE` alone. An option that contradicts the id is not overruled."""
    file = ("my_test.py", "def test_it(machine): pass\ndef test_other(machine): pass")
    for abi in ("2l", "fifo", "3l"):
        cell = own(file, abis=[abi])[0][0]
        assert f"/{abi}/" in cell
        assert own(file, cell=cell, abis=[abi])[0] == (cell,)
        assert own(file, cell=cell)[0] == (cell,)
    assert own(file, cell=cell, abis=["2l"])[0] == ()


def test_methods_of_one_name_are_two_cells(own: Any) -> None:
    planned, _ = own(("my_test.py", """
        class TestA:
            @pytest.mark.parametrize("x", ["a::b", "c/d"])
            def test_it(self, x): pass
            class TestInner:
                def test_it(self): pass
        class TestB:
            def test_it(self, seed): pass
        def test_it(): pass
    """))  # fmt: skip
    tests = [cell.split("/3l/")[1] for cell in planned]
    assert tests == [
        "my_test::TestA::test_it[a::b]/1", "my_test::TestA::test_it[c/d]/1",
        "my_test::TestA::TestInner::test_it/1", "my_test::TestB::test_it/1", "my_test::test_it/1",
    ]  # fmt: skip


def test_two_files_of_one_name_are_refused_with_both_names(own: Any) -> None:
    text = "def test_it(): pass"
    packages = (("a/__init__.py", ""), ("b/__init__.py", ""))
    files = (("a/my_test.py", text), ("b/my_test.py", text))
    planned, log = own(*packages, *files, ask=("a/my_test.py", "b/my_test.py"))
    assert planned == ()
    assert "a/my_test.py::test_it and b/my_test.py::test_it are both the cell " in log


def test_a_test_that_is_named_twice_runs_once(own: Any) -> None:
    file = ("my_test.py", "def test_it(): pass\ndef test_other(): pass\n")
    for ask in (("my_test.py::test_it", "my_test.py"), ("my_test.py", "my_test.py")):
        assert [cell.rpartition("::")[2] for cell in own(file, ask=ask)[0]] == ["test_it/1", "test_other/1"]


@pytest.mark.parametrize("again", [True, False], ids=["for good", "for a moment"])
def test_a_cell_whose_verdict_cannot_be_written_is_an_error_that_names_the_file(evh, again: bool) -> None:
    """As on a full disk; the machine's end may make room."""
    got = evh(f"""
        def test_first(machine, request):
            fresh = machine.run_dir.parent / "run.json.new"
            fresh.mkdir()
            if not {again}: request.addfinalizer(fresh.rmdir)
        def test_second(machine): pass
    """, same=False)  # fmt: skip
    if again:
        assert got.verdicts == {"test_first": Verdict.ERROR}
        assert "cannot write" in got.test("test_first").reason and "error: my_test::test_first" in got.said
        assert (got.record.verdict, got.record.exit_code) == (Verdict.ERROR, 4)
        assert got.record.error is not None and "run.json: Is a directory" in got.record.error.message
    else:
        assert got.verdicts == {"test_first": Verdict.PASS, "test_second": Verdict.PASS}


def test_a_log_of_pytest_that_cannot_be_written_changes_no_verdict(
    evh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.run.PYTEST_LOG", "/dev/full")
    got = evh("def test_a(): print('x' * 100_000)\ndef test_b(): assert 0")
    assert got.verdicts == {"test_a": Verdict.PASS, "test_b": Verdict.FAIL}
    assert any("/dev/full is incomplete: No space left on device" in note for note in got.record.notes)


@pytest.mark.parametrize("body", ["pass", "assert 0", "dom0.watchdog.check()"], ids=["pass", "fail", "seen"])
def test_a_machine_that_this_host_has_stopped_is_an_error_and_no_crash(evh, body: str) -> None:
    """Whatever the test made of it, and though nobody waited for the machine since."""
    got = evh(f"""
        from harness.monitor.waits import DiskLost
        def test_a(machine, dom0):
            machine.watchdog.lose(lambda: DiskLost("/run/x.qcow2", "no space is left there"))
            dom0.watchdog = machine.watchdog
            {body}
        def test_b(machine): pass
    """)  # fmt: skip
    assert got.verdicts == {"test_a": Verdict.ERROR, "test_b": Verdict.PASS}
    assert got.test("test_a").reason.startswith("dom0's disk, /run/x.qcow2 on this host, cannot be written")
    assert got.log.count("close") == 2, "the next test has another machine"


@pytest.mark.parametrize(
    "body",
    [
        "raise InfraError('no space')",
        "request.getfixturevalue('cleans_up_badly')",
    ],
    ids=["an error of the harness", "a lost console in the clean-up"],
)
def test_an_xfail_mark_hides_no_error(evh, body: str) -> None:
    got = evh(f"""
        from harness.core.errors import InfraError
        from harness.monitor.waits import ConsoleLost
        @pytest.fixture
        def cleans_up_badly():
            yield
            raise ConsoleLost("dom0", "gone")
        @pytest.mark.xfail
        def test_a(machine, request):
            {body}
            assert False
        def test_b(machine): pass
    """)
    assert got.verdicts == {"test_a": Verdict.ERROR, "test_b": Verdict.PASS}
    assert got.log.count("boot 3l 4096") == 2


def test_an_exception_that_the_mark_may_mean_is_an_expected_failure(evh) -> None:
    got = evh("@pytest.mark.xfail\ndef test_a(): raise KeyError('x')\ndef test_b(): pass")
    assert got.verdicts == {"test_a": Verdict.SKIP, "test_b": Verdict.PASS}


def test_keep_does_not_hide_cells_that_were_not_run(evh) -> None:
    got = evh(
        """
        def test_a(request): request.session.shouldstop = "x"
        def test_b(): pass
    """,
        keep=True,
    )
    assert (got.record.verdict, got.record.exit_code) == (Verdict.ERROR, 4)
    assert "test_b" in got.record.error.message


def test_a_test_whose_subtests_were_all_skipped_is_a_skip(evh) -> None:
    got = evh("""
        def test_a(subtests):
            for name in "ab":
                with subtests.test(name): pytest.skip(f"no {name}")
        def test_b(): pass
    """)
    assert got.verdicts == {"test_a": Verdict.SKIP, "test_b": Verdict.PASS}
    assert got.test("test_a").reason == "no a"


def test_shuffled_cells_are_all_run_in_an_order_that_the_seed_gives(evh) -> None:
    text = "".join(
        f"@pytest.mark.machine(memory_mib={4096 + 1024 * (i % 2)})\ndef test_{i}(machine): pass\n"
        for i in range(8)
    )
    grouped = [test.test for test in evh(text).record.tests]
    first, again, other = (
        [test.test for test in evh(text, shuffle=seed).record.tests] for seed in (1, 1, 2)
    )
    assert sorted(first) == sorted(other) == sorted(grouped)
    assert first == again != other
    assert grouped == [f"test_{i}" for i in (0, 2, 4, 6, 1, 3, 5, 7)]


def test_test_that_wants_a_clean_machine_gets_one_and_leaves_it_to_the_next(evh) -> None:
    got = evh("""
        def test_a(machine): pass
        @pytest.mark.machine(clean=True)
        def test_b(machine): pass
        def test_c(machine): pass
    """)
    assert [test.machine for test in got.record.tests] == [1, 2, 2]
    assert got.record.verdict is Verdict.PASS
