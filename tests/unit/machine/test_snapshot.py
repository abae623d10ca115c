# SPDX-License-Identifier: GPL-2.0-or-later
"""What a snapshot depends on, and how fast a restored machine is. tests/system has the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import fake_built

from harness.core.errors import InfraError
from harness.core.records import Accelerator, GuestImage, MachineSpec
from harness.machine import snapshot
from harness.machine.hypervisor import QemuIdentity
from harness.machine.snapshot import Facts, Snapshot, files_of, host_of, inputs_of, load, unsupported

FACTS = Facts(made="2026-01-01T00:00:00+00:00", boot_seconds=6.0, slowness=0.6, cpu_seconds=0.1)
QEMU = QemuIdentity(version=(10, 0, 2), text="/usr/bin/qemu 10.0.2", libvirt="9000000")
TCG = Accelerator(kind="tcg", reason="TCG: a test")
KVM = Accelerator(kind="kvm", reason="KVM: a test")


def machine(**changes: Any) -> Any:
    values = {"spec": MachineSpec(), "accelerator": TCG, "built": fake_built(), "uri": None}
    return SimpleNamespace(**(values | changes))


@pytest.fixture(autouse=True)
def qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "qemu_identity", lambda uri: QEMU)


@pytest.mark.parametrize(
    ("cpu_seconds", "slowness"),
    [(0.1, 0.6), (0.2, 1.2), (0.5, 3.0), (0.05, 0.3)],
    ids=["as fast as then", "half as fast", "a fifth", "twice as fast"],
)
def test_speed_is_that_of_the_boot_times_the_change_since(cpu_seconds: float, slowness: float) -> None:
    assert Snapshot(folder=Path(), facts=FACTS).slowness_now(cpu_seconds) == pytest.approx(slowness)


def test_a_slow_kernel_stays_slow() -> None:
    """A debug flavour boots four times slower; a loop in user space does not know."""
    debug = Snapshot(folder=Path(), facts=Facts(made="", boot_seconds=40.0, slowness=4.0, cpu_seconds=0.1))
    assert debug.slowness_now(0.1) == pytest.approx(4.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": MachineSpec(memory_mib=8192)},
        {"spec": MachineSpec(vcpus=3)},
        {"spec": MachineSpec(xen_args="nmi=fatal")},
        {"spec": MachineSpec(dom0_args="quiet")},
        {"accelerator": KVM},
    ],
)
def test_each_part_of_a_machine_is_an_input(changes: dict[str, Any]) -> None:
    assert inputs_of(machine(**changes)) != inputs_of(machine())


def test_qemu_and_libvirt_are_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    before = inputs_of(machine())
    for other in (replace(QEMU, text="/usr/bin/qemu 10.0.3"), replace(QEMU, libvirt="9000001")):
        monkeypatch.setattr(snapshot, "qemu_identity", lambda uri, other=other: other)
        assert inputs_of(machine()) != before


def test_all_files_that_are_booted_are_known() -> None:
    built = replace(
        fake_built(), xen=Path("xen"), kernel=Path("kernel"), dom0_image=Path("dom0"),
        xens={"xen-base": Path("other-xen")}, dom0_images={"hvm": Path("dom0-hvm")},
        images={"stock-dom0": GuestImage(kernel=Path("stock"), initrd=Path("initrd"))},
    )  # fmt: skip
    files = files_of(machine(built=built))
    assert (files["xen"], files["kernel"], files["dom0"]) == (Path("xen"), Path("kernel"), Path("dom0"))
    spec = MachineSpec(xen="xen-base", dom0_image="hvm", dom0_kernel="stock-dom0")
    files = files_of(machine(built=built, spec=spec))
    assert {name: str(path) for name, path in files.items() if not name.endswith("key")} == {
        "xen": "other-xen", "kernel": "stock", "initrd": "initrd", "dom0": "dom0-hvm"
    }  # fmt: skip


def test_host_counts_under_kvm_alone(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    info = tmp_path / "proc/cpuinfo"
    cpu = "processor\t: {}\nmodel name\t: A\nflags\t\t: fpu svm\ncpu MHz\t\t: {}\nmicrocode\t: 0x1\n\n"
    info.write_text(cpu.format(0, 2000) + cpu.format(1, 3000))
    assert host_of(TCG, root=tmp_path) == ""
    before = host_of(KVM, root=tmp_path)
    assert before.count("model name") == 1
    info.write_text(cpu.format(0, 2500) + cpu.format(1, 1000))
    assert host_of(KVM, root=tmp_path) == before, "its clock's speed is no matter"
    info.write_text(cpu.format(0, 2000).replace("0x1", "0x2"))
    assert host_of(KVM, root=tmp_path) != before


@pytest.mark.parametrize(
    ("version", "words"),
    [((7, 2, 22), "7.2.22 is older"), ((8, 2, 0), "older"), ((9, 0, 0), ""), ((10, 0, 2), "")],
)
def test_old_qemu_cannot_save(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], words: str
) -> None:
    monkeypatch.setattr(snapshot, "qemu_identity", lambda uri: replace(QEMU, version=version))
    assert words in unsupported(None)
    assert bool(unsupported(None)) == bool(words)


def test_facts_are_read_back_or_named(tmp_path: Path) -> None:
    import msgspec

    (tmp_path / snapshot.META).write_bytes(msgspec.json.encode(FACTS))
    assert load(tmp_path) == Snapshot(folder=tmp_path, facts=FACTS)
    for text in (b"{}", b"", b'{"made": 1}'):
        (tmp_path / snapshot.META).write_bytes(text)
        with pytest.raises(InfraError, match=r"snapshot\.json cannot be read"):
            load(tmp_path)


def test_result_of_the_measure_is_found_among_other_lines() -> None:
    said = '{"ev":"start","tool":"cpu-speed"}\nnoise\n{"ev":"result","ns":150000000,"sum":1}\n'
    assert snapshot._seconds_in(said) == pytest.approx(0.15)
    assert snapshot._seconds_in(said + '{"ev":"result","ns":250000000}\n') == pytest.approx(0.2)
    for other in ("", '{"ev":"error","what":"x"}', '{"ev":"result","ns":0}', "[1]"):
        with pytest.raises(InfraError, match="no result"):
            snapshot._seconds_in(other)
