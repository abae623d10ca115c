# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures of a test, in whole runs on a fake machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import FakeMachine

from harness.core.records import Verdict
from harness.guest import kmemleak
from harness.monitor.waits import ConsoleLost


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
    assert got.said.splitlines()[0].endswith("accelerator: TCG: a test")
    assert any(step.step.startswith("boot machine 1") for step in got.record.timings)


def test_row_of_a_loss_without_an_assertion_is_no_pass(evh) -> None:
    got = evh("""
        def test_loss(row, machine):
            row(abi="3l", guest="dom0", path="raw", opened=10, sent=10, seen=9, lost=1, duplicated=0,
                seconds=1)
    """)
    assert got.verdicts == {"test_loss": Verdict.FAIL}
    assert got.junit() == {"test_loss": ["failure"]}, "JUnit says the same"


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
    evh("def test_a(dom0, start_guest): start_guest(name='a', kind='pv64', network=False)")
    assert asked == ["dom0"], "there is no shell in a guest without a network"
