# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: verdicts, and machines that tests share, on a fake machine with real consoles."""

from __future__ import annotations

import pytest
from fakes import PANIC

from harness.core.records import Verdict


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
        ("with subtests.test('a'): pytest.skip('no such CPU')", Verdict.PASS, ""),
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
