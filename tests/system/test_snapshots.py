# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that are saved and restored, with real QEMU, Xen and Linux."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.errors import EvhError
from harness.core.records import Abi, Accelerator, Built, GuestSpec, MachineSpec
from harness.guest.guest import Guest
from harness.guest.tools import run_tool
from harness.machine.machine import Machine
from harness.machine.snapshot import Snapshot, load
from harness.monitor.waits import MachineCrashed, MachineLost

TCG = Accelerator(kind="tcg", reason="TCG: asked for")
SPEC = MachineSpec(abi=Abi.L3, memory_mib=2048, dom0_mib=1024, xen_args="nmi=fatal")


class Say:
    def say(self, text: str) -> None:
        print(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


@pytest.fixture(scope="module")
def snapshot(built: Built, folder: Path) -> Snapshot:
    """Of a machine that goes on after it was saved."""
    saved = folder / "saved"
    saved.mkdir()
    with Machine(built, SPEC, run_dir=folder / "booted", accelerator=TCG, progress=Say()) as machine:
        machine.boot()
        machine.dom0.run("echo first > /root/file; sync", timeout=30)
        snapshot = machine.save(saved)
        assert machine.dom0.run("cat /root/file", timeout=30).out == "first\n"
        machine.dom0.run("echo later > /root/file; sync", timeout=30)
        machine.prove_consoles({"dom0": machine.dom0})
        assert machine.consoles.find_crash() is None
    print(snapshot.facts)
    return snapshot


@contextmanager
def restored(built: Built, snapshot: Snapshot, run_dir: Path) -> Iterator[Machine]:
    with Machine(built, SPEC, run_dir=run_dir, accelerator=TCG, progress=Say()) as machine:
        machine.restore(snapshot)
        print(machine.timings, machine.slowness)
        yield machine


@pytest.fixture(scope="module")
def machine(built: Built, snapshot: Snapshot, folder: Path) -> Iterator[Machine]:
    with restored(built, snapshot, folder / "a b, c") as machine:
        yield machine


def test_restored_machine_answers_in_a_part_of_its_boots_time(machine: Machine, snapshot: Snapshot) -> None:
    assert machine.restore_seconds is not None
    assert machine.restore_seconds < 0.5 * snapshot.facts.boot_seconds
    assert machine.boot_seconds == snapshot.facts.boot_seconds
    assert machine.watchdog.time_scale >= 1.0
    assert "Domain-0" in machine.dom0.run("xl list", timeout=30).out


def test_its_consoles_begin_with_the_boot_and_go_on(machine: Machine) -> None:
    xen = machine.consoles.lines(layer="xen")
    assert any("Xen version" in line.text for line in xen[:5])
    assert any("Linux version" in line.text for line in machine.consoles.lines(layer="dom0")[:5])
    machine.prove_consoles({"dom0": machine.dom0})
    since = machine.consoles.next_number
    machine.xen_keys("h")
    machine.consoles.wait_line(
        r"\[type '.'\]|pressed",
        layer="xen", since=since, watchdog=machine.watchdog, what="Xen's help", total=30,
    )  # fmt: skip
    assert machine.consoles.find_crash() is None


READ = "echo 3 > /proc/sys/vm/drop_caches; cat /root/file"


def test_its_disk_is_as_it_was_saved_and_its_own(
    built: Built, machine: Machine, snapshot: Snapshot, tmp_path: Path
) -> None:
    before = snapshot.disk.read_bytes()
    assert machine.dom0.run("cat /root/file", timeout=30).out == "first\n"
    machine.dom0.run("echo mine > /root/file; sync; echo 3 > /proc/sys/vm/drop_caches", timeout=30)
    with restored(built, snapshot, tmp_path) as other:
        assert other.dom0.run(READ, timeout=30).out == "first\n"
    assert machine.dom0.run("cat /root/file", timeout=30).out == "mine\n"
    assert snapshot.disk.read_bytes() == before
    assert not list(tmp_path.glob("*.qcow2"))


UNIQUE = "cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; date +%s"


def test_two_from_one_snapshot_share_no_secret_and_have_todays_clock(
    built: Built, snapshot: Snapshot, tmp_path: Path
) -> None:
    said = []
    ports = []
    for name in "ab":
        with restored(built, snapshot, tmp_path / name) as machine:
            said.append(machine.dom0.run(UNIQUE, timeout=30).out.splitlines())
            late = time.time() - int(said[-1][2])
            assert -1 <= late < 5 * machine.watchdog.time_scale
            ports.append(machine.dom0.address[1])
    assert said[0][0] != said[1][0]
    assert said[0][1] != said[1][1]


def test_server_of_the_saved_session_has_ended(machine: Machine) -> None:
    """The only session is that of this command."""
    sessions = machine.dom0.run("ps -eo pid,args | grep '[d]ropbear' | wc -l", timeout=30).out
    assert int(sessions) == 2, "the server, and this session"


@pytest.mark.parametrize("kind", ["pv64", "pvh64"])
def test_guests_start_and_tools_work(machine: Machine, kind: str) -> None:
    with Guest(machine, GuestSpec(name=f"g-{kind}", kind=kind, abi=Abi.L3)).start() as guest:
        guest.ssh.run("true", timeout=30)
        late = time.time() - int(guest.ssh.run("date +%s", timeout=30).out)
        assert -2 <= late < 5 * machine.watchdog.time_scale, "Xen passes dom0's clock on"
    result = run_tool(machine.dom0, "evtchn-raw", "--count", "5000", timeout=240).result
    assert (result.opened, result.lost, result.duplicated, result.stray) == (5000, 0, 0, 0)


def test_crash_of_a_restored_machine_is_noticed(built: Built, snapshot: Snapshot, tmp_path: Path) -> None:
    with (
        restored(built, snapshot, tmp_path) as machine,
        pytest.raises(MachineCrashed, match="FATAL TRAP: vec 2") as caught,
    ):
        machine.monitor.human("nmi")
        machine.dom0.run("sleep 100", timeout=120)
    assert caught.value.layer == "xen"


def test_crash_before_the_save_is_not_hidden(built: Built, snapshot: Snapshot, tmp_path: Path) -> None:
    """As if today's table of crash lines knew a line that the one of then did not."""
    past = tmp_path / "past"
    past.mkdir()
    for name in ("memory", "disk.qcow2", "snapshot.json"):
        (past / name).symlink_to(snapshot.folder / name)
    (past / "serial.raw").write_bytes(snapshot.past.read_bytes() + b"\n(XEN) Xen BUG at event_2l.c:1\n")
    with pytest.raises(MachineCrashed, match="Xen BUG"), restored(built, load(past), tmp_path / "run"):
        pass


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_snapshot_that_is_damaged_does_not_come_up(
    built: Built, snapshot: Snapshot, tmp_path: Path, damage: str
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("disk.qcow2", "snapshot.json", "serial.raw"):
        (broken / name).symlink_to(snapshot.folder / name)
    with snapshot.memory.open("rb") as file:
        head = file.read(1 << 20)
    (broken / "memory").write_bytes({"cut": head, "empty": b"", "other": b"x" * 4096}[damage])
    with pytest.raises((EvhError, MachineLost)) as caught, restored(built, load(broken), tmp_path / "run"):
        pass
    print(caught.value.message)
    assert not isinstance(caught.value, MachineCrashed)
