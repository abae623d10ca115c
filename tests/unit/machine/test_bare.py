# SPDX-License-Identifier: GPL-2.0-or-later
"""How a bare guest is booted: QEMU's command line, the bundle, and the recorded console."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.records import Accelerator, Verdict
from harness.machine import bare, bundle
from harness.machine.bare import BareSpec, qemu_words
from harness.machine.direct import watch
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


def test_bundle_is_readable_by_cpio_and_independent_of_the_host(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, order in ((one, ("bare-pvh64", "bare-pv64")), (two, ("bare-pv64", "bare-pvh64"))):
        folder.mkdir()
        for name in order:
            (folder / name).write_bytes(name.encode() * 3)
        (folder / "build.log").write_text("not a guest")
    first = bundle.write_bundle(tmp_path / "a", one).read_bytes()
    assert first == bundle.write_bundle(tmp_path / "b", two).read_bytes()
    assert len(first) % 4 == 0
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["cpio", "--quiet", "-i"], input=first, cwd=out, check=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "bare-pv64": b"bare-pv64" * 3,
        "bare-pvh64": b"bare-pvh64" * 3,
    }


def test_console_is_in_its_file_while_the_machine_runs(tmp_path: Path) -> None:
    """A killed run must keep the console so far."""
    console = tmp_path / "console.log"
    script = f"echo first; while ! grep -q first '{console}'; do :; done; echo second"
    lines, problem, late = watch(["sh", "-c", script], folder=tmp_path, console=console, deadline=20)
    assert (lines, problem, late) == (["first\n", "second\n"], "", False)
    assert console.read_text() == "first\nsecond\n"


def test_deadline_ends_it_and_the_console_stays(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    lines, problem, late = watch(
        ["sh", "-c", "echo first; exec sleep 100"], folder=tmp_path, console=console, deadline=0.5
    )
    assert (lines, problem, late) == (["first\n"], "", True)
    assert console.read_text() == "first\n"


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
