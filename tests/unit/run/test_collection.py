# SPDX-License-Identifier: GPL-2.0-or-later
"""The cell of a collected test, its machine, and the components that it needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import fake_backends, fake_built

from harness.core.progress import Progress
from harness.core.records import ABILITIES, Built, Verdict
from harness.run.request import RunRequest


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


def test_wrong_marker_word_is_a_user_error(evh) -> None:
    got = evh("""
        @pytest.mark.machine(ram=1)
        def test_mine(machine): pass
    """)
    assert got.record.exit_code == 2
    assert got.record.error is not None and "memory_mib" in got.record.error.message


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


def test_flavour_is_in_the_cell(evh) -> None:
    got = evh("def test_plain(): pass", flavour="ubsan")
    assert "/ubsan/" in got.record.tests[0].cell
    assert got.record.flavour == "ubsan"


I386 = '@pytest.mark.parametrize("guest", ["pvh32"])\ndef test_a(guest, dom0): pass'
OTHER_XEN = '@pytest.mark.machine(xen="xen-without-3l")\ndef test_a(dom0): pass'
NEEDS = '@pytest.mark.needs("i386")\ndef test_a(dom0): pass'
BASE = '@pytest.mark.needs("xen-base")\ndef test_a(): pass'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def test_a(bare): pass", set()),
        ("def test_a(dom0): pass", {"linux"}),
        (I386, {"linux", "i386"}),
        (NEEDS, {"linux", "i386"}),
        (OTHER_XEN, {"linux", "xen-without-3l"}),
        (BASE, {"xen-base"}),
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


ASKS = """
    @pytest.mark.parametrize("abi", ["3l", "fifo"])
    def test_abi(machine, abi): assert machine.spec.abi == abi
    @pytest.mark.machine(abi="3l")
    @pytest.mark.cell(guest="pv64", abi="fifo")
    def test_fifo_guest(machine): assert machine.spec.abi == DOM0
    @pytest.mark.asks("linux-events")
    @pytest.mark.cell(abi="2l")
    def test_file(): pass
    @pytest.mark.cell(abi="2l")
    def test_part(lacks): assert ("linux-events" in lacks) == LACKS
    @pytest.mark.cell(guest="bare-pv32", abi="2l")
    def test_narrow(): pass
    @pytest.mark.cell(guest="pvh32", abi="2l")
    def test_shadow(): pass
    @pytest.mark.cell(guest="kunit64", abi="3l")
    def test_kunit(): pass
"""


NONE = {name: f"this has no {name}" for name in ABILITIES}


@pytest.mark.parametrize("lacks", [{}, NONE], ids=["all", "none"])
def test_what_a_build_lacks_is_skipped_and_nothing_else(evh, lacks: dict[str, str]) -> None:
    log: list[str] = []
    backends = fake_backends(log, build=lambda: replace(fake_built(), lacks=lacks))
    dom0 = "fifo" if lacks else "3l"
    got = evh(ASKS.replace("DOM0", repr(dom0)).replace("LACKS", str(bool(lacks))), backends=backends)
    skipped = {test.test: test.reason for test in got.record.tests if test.verdict is Verdict.SKIP}
    assert skipped == (
        {
            "test_abi[3l]": "this has no xen-3l",
            "test_file": "this has no linux-events",
            "test_narrow": "this has no xen-pv32",
            "test_shadow": "this has no xen-shadow",
        }
        if lacks
        else {}
    )
    assert {test.verdict for test in got.record.tests if test.test not in skipped} == {Verdict.PASS}
    assert len(got.verdicts) == 8
    assert got.record.lacks == lacks
    assert not lacks or log.count("boot fifo 4096") == 1, "machines that are equal now are shared"


def test_unknown_ability_is_a_user_error(evh) -> None:
    got = evh("""
        @pytest.mark.asks("linux-eevnts")
        def test_mine(): pass
    """)
    assert got.verdicts == {"test_mine": Verdict.ERROR}
    assert "linux-eevnts" in got.test("test_mine").reason


def test_words_of_the_command_line_come_after_a_tests_own(evh) -> None:
    got = evh(
        """
        @pytest.mark.machine(xen_args="loglvl=all")
        def test_mine(machine):
            assert machine.spec.xen_args == "loglvl=all sync_console"
            assert machine.spec.dom0_args == "debug"
        """,
        request={"xen_args": "sync_console", "dom0_args": "debug"},
    )
    assert got.verdicts == {"test_mine": Verdict.PASS}
    assert (got.record.options["xen_args"], got.record.options["dom0_args"]) == ("sync_console", "debug")
