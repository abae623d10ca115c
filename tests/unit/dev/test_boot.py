# SPDX-License-Identifier: GPL-2.0-or-later
"""What `evh boot` builds, boots and starts; the machine is the one without QEMU."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeMachine, FakeSnapshots, fake_built

from harness.core.errors import InfraError, UserError
from harness.core.progress import Progress
from harness.core.records import HVM, LINUX, XEN_3L, Abi, Accelerator, Built, GuestSpec, MachineSpec, Trees
from harness.dev.boot import booted, components_of
from harness.monitor.waits import Crash, MachineCrashed
from harness.plan.guests import KINDS


class Host:
    """What stands for the build, QEMU and xl, and what each of them was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.built: dict[str, Any] = {}
        self.accel = ""
        self.machine: dict[str, Any] = {}
        self.guests: list[GuestSpec] = []
        self.lacks: dict[str, str] = {}
        self.refused = ""  # name of a guest that does not start
        self.said = io.StringIO()
        self.restores: list[Exception | None] = []  # what restores raise; none: there is no snapshot

    def snapshots(self, kept: Any, *, tell: Any) -> FakeSnapshots:
        return FakeSnapshots(self.log, *self.restores)

    def choose(self, *, want: str) -> Accelerator:
        self.accel = want
        return Accelerator(kind="tcg", reason="TCG: a test")

    def build(self, **words: Any) -> Built:
        self.log.append("build")
        self.built = words
        return replace(fake_built(), lacks=self.lacks)

    def make(self, built: Built, spec: MachineSpec, *, run_dir: Path, **words: Any) -> FakeMachine:
        self.machine = words
        return FakeMachine(spec, run_dir, self.log, accelerator=words["accelerator"])

    def guest(self, machine: FakeMachine, spec: GuestSpec) -> Any:
        host = self

        class Starting:
            def start(self) -> None:
                if spec.name == host.refused:
                    raise RuntimeError("xl: no memory")
                host.guests.append(spec)
                machine.start_guest(spec)

        return Starting()

    def boot(self, stack: ExitStack, *guests: str, **words: Any) -> tuple[FakeMachine, Path]:
        progress = Progress(self.said)
        words.setdefault("snapshots", True)
        return booted(stack, progress, guests=guests, run_dir=self.folder / "run", **words)  # type: ignore[return-value]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.build.graph.build", host.build)
    monkeypatch.setattr("harness.machine.accelerator.choose_accelerator", host.choose)
    monkeypatch.setattr("harness.machine.machine.Machine", host.make)
    monkeypatch.setattr("harness.guest.guest.Guest", host.guest)
    monkeypatch.setattr("harness.run.snapshots.Snapshots", host.snapshots)
    return host


@pytest.mark.parametrize(
    ("guests", "components"),
    [
        ([], {LINUX}),
        (["pv64", "pvh64"], {LINUX}),
        (["pvh32"], {LINUX, "i386"}),
        (["hvm64"], {LINUX, HVM}),
        (["hvm32", "pvh32"], {LINUX, HVM, "i386", "i386-hvm"}),
    ],
)
def test_components_of_guests(guests: list[str], components: set[str]) -> None:
    assert components_of(guests) == components


def test_unknown_guest_is_refused_with_the_known_ones_before_anything_is_built(host: Host) -> None:
    with ExitStack() as stack, pytest.raises(UserError, match="unknown guest 'vax'") as caught:
        host.boot(stack, "pv64", "vax")
    assert ", ".join(KINDS) in caught.value.hint
    assert host.log == []
    assert not (host.folder / "run").exists()


def test_machine_and_guests_are_as_asked_for_and_the_stack_closes_them(host: Host) -> None:
    with ExitStack() as stack:
        machine, folder = host.boot(
            stack, "pv64", "pvh32", abi=Abi.FIFO, memory=6000, accel="tcg", connect="qemu:///system"
        )
        assert folder == machine.run_dir == (host.folder / "run").resolve()
        assert machine.spec == MachineSpec(abi=Abi.FIFO, memory_mib=6000, dom0_mib=3000)
        assert [(spec.name, spec.kind, spec.abi) for spec in host.guests] == [
            ("pv64", "pv64", Abi.FIFO),
            ("pvh32", "pvh32", Abi.FIFO),
        ]
        assert host.accel == host.machine["accelerator"].kind == "tcg"
        assert host.machine["uri"] == "qemu:///system"
        assert host.log == ["build", "boot fifo 6000", "save", "start pv64", "start pvh32"]
    assert host.log[-1] == "close"
    assert "accelerator: TCG: a test" in host.said.getvalue()


def test_without_the_3_level_abi_fifo_is_used_and_it_is_said(host: Host) -> None:
    host.lacks = {XEN_3L: "this Xen 4.22.0 has no 3-level ABI (why)"}
    with ExitStack() as stack:
        machine, _ = host.boot(stack, "pv64")
        assert machine.spec.abi is Abi.FIFO
    assert host.guests[0].abi is Abi.FIFO
    assert "this Xen 4.22.0 has no 3-level ABI (why): dom0 and the guests use FIFO" in host.said.getvalue()


def test_guests_may_open_as_many_ports_as_3l_has(host: Host) -> None:
    """xl's default of 1,023 would hide what a person boots the machine for."""
    with ExitStack() as stack:
        host.boot(stack, "pv64")
    assert host.guests[0].max_event_channels == 524_287


def test_guests_of_one_kind_have_names_of_their_own(host: Host) -> None:
    with ExitStack() as stack:
        host.boot(stack, "pv64", "pvh64", "pv64", "pv64")
    assert [spec.name for spec in host.guests] == ["pv64", "pvh64", "pv64-2", "pv64-3"]


@pytest.mark.parametrize(("guests", "image"), [(["pv64", "hvm64"], HVM), (["pv64"], "")])
def test_dom0_has_the_root_that_one_of_the_guests_needs(host: Host, guests: list[str], image: str) -> None:
    with ExitStack() as stack:
        machine, _ = host.boot(stack, *guests)
        assert machine.spec.dom0_image == image


def test_build_is_told_trees_stock_jobs_and_components(host: Host) -> None:
    trees = Trees(xen_tree=Path("x"), stock=True)
    with ExitStack() as stack:
        machine, _ = host.boot(
            stack, "hvm64", trees=trees, jobs=3, xen_args="sync_console", dom0_args="debug"
        )
        assert (machine.spec.xen_args, machine.spec.dom0_args) == ("sync_console", "debug")
    asked = {name: host.built[name] for name in ("trees", "jobs", "components")}
    assert asked == {"trees": trees, "jobs": 3, "components": {LINUX, HVM}}


def test_guest_that_does_not_start_ends_the_machine(host: Host) -> None:
    host.refused = "pvh64"
    with pytest.raises(RuntimeError, match="no memory"), ExitStack() as stack:
        host.boot(stack, "pv64", "pvh64", "hvm64")
    assert host.log[-2:] == ["start pv64", "close"]


def test_run_folder_in_use_is_refused_before_a_machine_boots(host: Host) -> None:
    (host.folder / "run").mkdir()
    (host.folder / "run" / "thesis.txt").touch()
    with ExitStack() as stack, pytest.raises(UserError, match="not empty"):
        host.boot(stack, "pv64")
    assert host.log == ["build"]


def test_booted_machine_is_saved(host: Host) -> None:
    with ExitStack() as stack:
        host.boot(stack)
        assert host.log == ["build", "boot 3l 4096", "save"]


def test_saved_machine_is_restored(host: Host) -> None:
    host.restores = [None]
    with ExitStack() as stack:
        host.boot(stack)
        assert host.log == ["build", "restore 3l 4096"]
    assert "dom0 answers over SSH 0.1 s" in host.said.getvalue()


def test_without_snapshots_none_is_restored_nor_saved(host: Host) -> None:
    host.restores = [None]
    with ExitStack() as stack:
        host.boot(stack, snapshots=False)
        assert host.log == ["build", "boot 3l 4096"]


def test_snapshot_that_does_not_come_up_is_replaced(host: Host) -> None:
    host.restores = [InfraError("QEMU refuses")]
    with ExitStack() as stack:
        machine, _ = host.boot(stack)
        assert host.log == ["build", "restore 3l 4096", "refuse", "close", "boot 3l 4096", "save"]
        assert machine.run_dir == host.folder / "run" / "booted"


def test_crash_of_a_restored_machine_is_no_reason_to_boot_another(host: Host) -> None:
    crash = Crash(layer="xen", line="(XEN) Panic on CPU 0:", seconds=0.0)
    host.restores = [MachineCrashed("xen crashed", crash=crash)]
    with ExitStack() as stack, pytest.raises(MachineCrashed):
        host.boot(stack)
    assert host.log == ["build", "restore 3l 4096", "close"]
