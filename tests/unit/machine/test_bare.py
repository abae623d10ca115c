# SPDX-License-Identifier: GPL-2.0-or-later
"""How a bare guest is booted: QEMU's command line, and the recorded console."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core import paths
from harness.core.errors import UserError
from harness.core.records import Accelerator, Verdict
from harness.machine import bare
from harness.machine.bare import BareSpec, qemu_words
from harness.monitor import ktap

TCG = Accelerator(kind="tcg", reason="TCG: a test")


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_command_line_of_the_guest() -> None:
    spec = BareSpec(kind="bare-pv64", suite="race", test="a", seed=0, rounds=9)
    assert spec.args == "suite=race test=a seed=0 rounds=9"
    assert BareSpec(kind="bare-pvh32").args == "domu=bare-pvh32", "PVH kinds are domUs"
    assert BareSpec(kind="bare-pv64", domu="bare-pv32").args == "domu=bare-pv32"
    assert [bare.dom0_of(kind) for kind in ("bare-pvh64", "bare-pv32")] == ["bare-pv64", "bare-pv32"]


def test_only_deterministic_boots_use_icount() -> None:
    plain = qemu_words(accelerator="kvm")
    counted = qemu_words(accelerator="kvm", deterministic=True)
    assert after(plain, "-accel") == "kvm" and "-icount" not in plain
    assert after(counted, "-accel") == "tcg,thread=single"
    assert after(counted, "-icount") == "shift=3,sleep=off"
    assert after(counted, "-rtc") == "base=2026-01-01,clock=vm"
    assert "console_timestamps=raw" in after(counted, "-append")


@pytest.mark.parametrize(("vcpus", "deterministic", "smp"), [(1, False, 2), (1, True, 1), (2, True, 3)])
def test_one_more_cpu_unless_recorded(vcpus: int, deterministic: bool, smp: int) -> None:
    assert after(qemu_words(accelerator="tcg", vcpus=vcpus, deterministic=deterministic), "-smp") == str(smp)


def test_no_path_reaches_the_guest() -> None:
    """QEMU copies the names of Xen and its modules into the guest's memory."""
    words = qemu_words(accelerator="tcg", args="suite=race", bundle=True, deterministic=True)
    assert (after(words, "-kernel"), after(words, "-initrd")) == ("xen", "kernel suite=race,bundle")
    assert not [word for word in words if "/" in word]


def test_a_comma_does_not_begin_a_module() -> None:
    assert after(qemu_words(accelerator="tcg", args="a=1,2"), "-initrd") == "kernel a=1,,2"


def test_unknown_kind_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "bare-pv64").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        bare.boot_spec(
            BareSpec(kind="bare-arm"), xen=tmp_path, guests=tmp_path, accelerator=TCG, run_dir=tmp_path
        )
    assert "bare-pv64" in caught.value.hint


def test_deadline_grows_with_the_rounds_that_were_asked_for() -> None:
    race = BareSpec(kind="bare-pv64", suite="race", deterministic=True)
    assert race.seconds == replace(race, rounds=10).seconds == bare.COUNTED_DEADLINE
    assert replace(race, rounds=20_000).seconds == 20 * bare.COUNTED_DEADLINE
    assert replace(race, rounds=20_000, deadline=7.0).seconds == 7.0
    assert BareSpec(kind="bare-pv64", suite="dump").seconds == bare.DEADLINE


@pytest.mark.parametrize("log", ["bare-pv64", "bare-ubsan", "xtf-success", "xtf-crash"])
def test_recorded_consoles_have_the_line_by_which_the_hosts_speed_is_told(log: str) -> None:
    """Xen's own lines; the guest's first one would do, too."""
    lines = (Path(__file__).parents[1] / "logs" / f"{log}.log").read_text().splitlines()
    found = next(line for line in lines if re.match(bare.BOOTED, line))
    assert "Serial input to DOM" in found
    assert re.match(bare.BOOTED, "KTAP version 1")
    assert re.match(bare.BOOTED, "--- Xen Test Framework ---")


def test_each_cpu_that_counts_instructions_takes_its_turn() -> None:
    assert bare.milestone(vcpus=4).seconds < 2
    one, four = (bare.milestone(vcpus=vcpus, deterministic=True).seconds for vcpus in (1, 4))
    assert 2 < one < four < 6


def test_rounds_are_those_that_the_tests_run_by_themselves() -> None:
    found: dict[str, int] = {}
    for source in (paths.CHECKOUT / "images" / "bare" / "tests").glob("*.c"):
        for default in re.findall(r'arg_number\("rounds", ([^)]*)\)', source.read_text()):
            least = min(int(number) for number in re.findall(r"\d+", default))
            suite = source.stem.partition("-")[0]
            found[suite] = min(found.get(suite, least), least)
    assert found == bare.ROUNDS


def test_guest_that_uses_another_seed_is_an_error() -> None:
    log = ["KTAP version 1", "# seed 4", "1..1", "ok 1 a"]
    results = ktap.parse(log)
    assert bare._judge(log, results, problem="", late="", seed=4)[0] is Verdict.PASS
    assert bare._judge(log, results, problem="", late="", seed=5)[0] is Verdict.ERROR


def test_undefined_behaviour_in_xen_is_a_crash_of_xen() -> None:
    """Recorded from a Xen with a shift by 50 bits in do_event_channel_op(); the tests themselves passed."""
    log = (Path(__file__).parents[1] / "logs" / "bare-ubsan.log").read_text().splitlines()
    verdict, layer, reason = bare._judge(log, ktap.parse(log), problem="", late="")
    assert (verdict, layer) == (Verdict.CRASH, "xen")
    assert "UBSAN: Undefined behaviour in common/event_channel.c:1452" in reason
