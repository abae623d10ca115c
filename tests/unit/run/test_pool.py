# SPDX-License-Identifier: GPL-2.0-or-later
"""One machine at a time: when it is kept, replaced and given up, and what run.json says of it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import BOOT, PANIC, FakeMachine, FakeSnapshots

from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.core.records import Abi, Accelerator, MachineSpec
from harness.monitor.waits import Crash, MachineCrashed, MachineDied, Silence
from harness.run.pool import BOOT_ATTEMPTS, Machines, console_files, tail
from harness.run.record import RunRecord, load
from harness.run.recorder import Recorder, now

SPEC = MachineSpec()
BIG = replace(SPEC, memory_mib=8192)
TCG = Accelerator(kind="tcg", reason="TCG: a test")
Make = Callable[[MachineSpec, Path, Accelerator], FakeMachine]


class Pool(Machines):
    """Machines without QEMU; ``log`` has their boots and ends, ``run`` is the run folder."""

    def __init__(self, run: Path, make: Make | None = None) -> None:
        self.log: list[str] = []
        self.run = run
        self.at_boot = BOOT
        self.given: list[Accelerator] = []
        record = RunRecord(id="x", command=["evh"], reproduce="evh", started=now(), pid=os.getpid())
        super().__init__(
            make=make or self._fake,  # type: ignore[arg-type]
            recorder=Recorder(run_dir=run, record=record),
            progress=Progress(io.StringIO()),
        )
        self.accelerator = TCG

    def _fake(self, spec: MachineSpec, folder: Path, accelerator: Accelerator) -> FakeMachine:
        self.given.append(accelerator)
        return FakeMachine(spec, folder, self.log, accelerator=accelerator, at_boot=self.at_boot)

    def boot(self, spec: MachineSpec = SPEC) -> FakeMachine:
        return self.get(spec)  # type: ignore[return-value]

    def saved(self) -> RunRecord:
        return load(self.run)[1]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def test_machine_is_shared_by_those_that_want_an_equal_one(pool: Pool) -> None:
    first = pool.boot(SPEC)
    assert pool.fits(replace(SPEC)) and not pool.fits(BIG)
    assert pool.boot(replace(SPEC)) is first
    assert pool.log == ["boot 3l 4096"]


def test_another_spec_ends_the_machine_before_the_next_boots(pool: Pool) -> None:
    """Two machines at once may be more than the host has memory for."""
    pool.boot(SPEC)
    assert pool.boot(BIG).spec == BIG
    assert pool.log == ["boot 3l 4096", "close", "boot 3l 8192"]
    assert (pool.number, pool.next_number, pool.dir) == (2, 3, pool.run / "machine-2")


def test_lost_machine_is_replaced_by_an_equal_one(pool: Pool) -> None:
    first = pool.boot()
    pool.lose("it hung")
    assert pool.current is None and not pool.fits(SPEC)
    assert pool.boot() is not first
    assert pool.fits(SPEC)
    assert pool.log == ["boot 3l 4096", "close", "boot 3l 4096"]


def test_first_reason_of_a_loss_is_the_one_recorded(pool: Pool) -> None:
    pool.boot(BIG)
    pool.boot(SPEC)
    pool.lose("it hung")
    pool.lose("something later")
    assert [machine.lost for machine in pool.saved().machines] == ["", "it hung"]


def test_loss_before_any_machine_is_no_loss(pool: Pool) -> None:
    pool.lose("nothing to lose")
    assert pool.lost == ""


def test_after_two_failed_boots_the_last_failure_comes_at_once(pool: Pool) -> None:
    pool.at_boot = BOOT + PANIC
    caught = []
    for _ in range(BOOT_ATTEMPTS + 1):
        with pytest.raises(MachineCrashed) as error:
            pool.boot()
        caught.append(error.value)
        assert pool.current is None
    assert pool.log == ["boot 3l 4096", "close"] * BOOT_ATTEMPTS
    assert caught[0] is not caught[1] is caught[2]


def test_failed_boots_of_one_spec_do_not_count_for_another(pool: Pool) -> None:
    pool.at_boot = BOOT + PANIC
    for _ in range(BOOT_ATTEMPTS):
        with pytest.raises(MachineCrashed):
            pool.boot(SPEC)
    pool.at_boot = BOOT
    assert pool.boot(BIG).spec == BIG


def test_run_json_has_every_machine_also_one_that_never_came_up(pool: Pool) -> None:
    pool.at_boot = PANIC
    with pytest.raises(MachineCrashed):
        pool.boot(replace(SPEC, abi=Abi.FIFO))
    pool.at_boot = BOOT
    pool.boot(SPEC)
    never, up = pool.saved().machines
    assert (never.number, never.abi, never.boot_seconds, never.lost) == (1, "fifo", None, "xen crashed")
    assert (up.number, up.abi, up.boot_seconds, up.lost) == (2, "3l", 0.25, "")
    assert [step.step for step in pool.saved().timings] == [
        "boot machine 1 (dom0 fifo, 4096 MiB)",
        "boot machine 2 (dom0 3l, 4096 MiB)",
    ]


def test_every_boot_uses_the_runs_accelerator(pool: Pool) -> None:
    pool.boot(SPEC)
    pool.boot(BIG)
    assert pool.given == [TCG, TCG]


def test_run_json_has_the_time_scale_of_each_machine(tmp_path: Path) -> None:
    pool = Pool(tmp_path, lambda spec, folder, accelerator: FakeMachine(spec, folder, [], slow=2.504))
    pool.boot(SPEC)
    assert [entry.time_scale for entry in pool.saved().machines] == [2.5]


def test_crash_line_in_a_console_is_found_with_the_lines_around_it(pool: Pool) -> None:
    assert pool.find_crash() is None
    machine = pool.boot()
    assert pool.find_crash() is None and pool.excerpt() == ""
    machine.xen_panics()
    crash = pool.find_crash()
    assert crash is not None and (crash.layer, crash.line) == ("xen", "(XEN) Panic on CPU 0:")
    assert "Assertion 'ok' failed" in pool.excerpt()


def test_qemus_death_is_a_crash_even_if_the_test_caught_it(pool: Pool) -> None:
    pool.boot().dies()
    crash = pool.find_crash()
    assert crash is not None
    assert (crash.layer, crash.line) == ("qemu", "QEMU ended by itself: it was killed")


def test_crash_line_is_preferred_to_the_death_that_follows_it(pool: Pool) -> None:
    machine = pool.boot()
    machine.dies()
    machine.xen_panics()
    crash = pool.find_crash()
    assert crash is not None and crash.layer == "xen"


def test_consoles_of_all_machines_are_listed_once_each(pool: Pool) -> None:
    pool.boot(SPEC)
    pool.list_consoles()
    pool.boot(BIG)
    pool.close()
    pool.close()
    listed = pool.saved().consoles
    files = [console.file for console in listed]
    assert len(set(files)) == len(files)
    assert {console.machine for console in listed} == {1, 2}
    assert {"machine-1/console-xen.log", "machine-2/console-xen.log"} <= set(files)
    for console in listed:
        assert console.bytes == (pool.run / console.file).stat().st_size


def test_consoles_are_listed_even_if_the_machine_cannot_be_ended(tmp_path: Path) -> None:
    class Stuck(FakeMachine):
        def __exit__(self, *exc: object) -> None:
            super().__exit__(*exc)
            raise OSError("QEMU does not end")

    pool = Pool(tmp_path, lambda spec, folder, accelerator: Stuck(spec, folder, []))
    pool.boot()
    with pytest.raises(OSError, match="does not end"):
        pool.close()
    assert pool.saved().consoles
    assert pool.current is None


def test_tails_are_read_also_of_a_machine_that_is_gone(pool: Pool) -> None:
    assert pool.tails(lines=1) == {}
    pool.boot()
    pool.close()
    assert pool.tails(lines=1)["xen"] == "(XEN) *** Serial input to DOM0"


def test_layers_of_console_files(tmp_path: Path) -> None:
    """A guest's own name may have ``guest-`` in it."""
    for name in ("console-xen.log", "console-guest-pv64.log", "console-guest-guest-a.log", "qemu.log"):
        (tmp_path / name).touch()
    assert [layer for layer, _ in console_files(tmp_path)] == ["guest:guest-a", "guest:pv64", "xen"]


@pytest.mark.parametrize(
    ("data", "most", "want"),
    [
        (b"a\nb\nc\n", 100, "b\nc"),
        (b"a\r\nb\r\nc\r\n", 100, "b\nc"),
        (b"one\n", 100, "one"),
        (b"", 100, ""),
        (b"a\nb\xff\nc\n", 100, "b\ufffd\nc"),
        (b"a\nbcdefg\nc\n", 5, "fg\nc"),
    ],
)
def test_tail_of_a_console(tmp_path: Path, data: bytes, most: int, want: str) -> None:
    """Two lines; no more than the last `most` bytes are read, and bytes that are no text do no harm."""
    path = tmp_path / "console-xen.log"
    path.write_bytes(data)
    assert tail(path, lines=2, most=most) == want


def with_snapshots(pool: Pool, *errors: Exception | None, saves: Exception | None = None) -> Pool:
    pool.snapshots = FakeSnapshots(pool.log, *errors, saves=saves)  # type: ignore[assignment]
    return pool


def test_booted_machine_is_saved(pool: Pool) -> None:
    with_snapshots(pool).boot()
    assert pool.log == ["boot 3l 4096", "save"]
    (entry,) = pool.saved().machines
    assert (entry.started, entry.boot_seconds, entry.restore_seconds) == ("booted", 0.25, None)
    assert entry.save_seconds is not None


def test_saved_machine_is_restored_and_run_json_has_both_times(pool: Pool) -> None:
    with_snapshots(pool, None).boot()
    assert pool.log == ["restore 3l 4096"]
    (entry,) = pool.saved().machines
    assert (entry.started, entry.boot_seconds, entry.restore_seconds) == ("restored", 7.5, 0.125)
    assert (entry.snapshot, entry.save_seconds, entry.time_scale) == ("then", None, 1.0)
    assert [step.step for step in pool.saved().timings] == ["restore machine 1 (dom0 3l, 4096 MiB)"]


@pytest.mark.parametrize(
    "error", [Silence("no answer"), MachineDied("QEMU ended"), InfraError("QEMU refuses"), OSError("gone")]
)
def test_snapshot_that_does_not_come_up_is_replaced_by_a_boot(pool: Pool, error: Exception) -> None:
    machine = with_snapshots(pool, error).boot()
    assert pool.log == ["restore 3l 4096", "refuse", "close", "boot 3l 4096", "save"]
    assert pool.fits(SPEC) and pool.current is machine and pool.lost == ""
    failed, booted = pool.saved().machines
    assert (failed.number, failed.started, failed.restore_seconds) == (1, "restored", None)
    assert failed.lost == f"it was not restored: {error}"
    assert (booted.number, booted.started, booted.lost) == (2, "booted", "")


def test_crash_of_a_restored_machine_is_a_crash(pool: Pool) -> None:
    """Whether it crashed now or before it was saved: no boot hides it."""
    crash = Crash(layer="xen", line="(XEN) Panic on CPU 0:", seconds=0.0)
    with_snapshots(pool, MachineCrashed("xen crashed", crash=crash))
    with pytest.raises(MachineCrashed):
        pool.boot()
    assert pool.log == ["restore 3l 4096", "refuse", "close"]
    assert pool.saved().machines[0].lost == "xen crashed"
    assert pool.boot() is pool.current
    assert pool.log[3:] == ["boot 3l 4096", "save"]


def test_loss_of_a_machine_while_it_is_saved_is_a_failed_boot(pool: Pool) -> None:
    with_snapshots(pool, saves=MachineDied("QEMU ended"))
    for _ in range(BOOT_ATTEMPTS):
        with pytest.raises(MachineDied):
            pool.boot()
    assert pool.log == ["boot 3l 4096", "save", "close"] * BOOT_ATTEMPTS
    with pytest.raises(MachineDied):
        pool.boot()
    assert len(pool.log) == 3 * BOOT_ATTEMPTS


@pytest.mark.parametrize("works", [True, False])
def test_kvm_is_tried_once_before_the_first_machine(pool: Pool, works: bool) -> None:
    with_snapshots(pool, None, None)
    pool.snapshots.works = works  # type: ignore[union-attr]
    pool.accelerator = Accelerator(kind="kvm", reason="KVM: a test")
    pool.boot(SPEC)
    pool.boot(BIG)
    how = "restore" if works else "boot"
    assert pool.log == ["prove", f"{how} 3l 4096", "close", f"{how} 3l 8192"]


def test_clean_machine_is_one_that_no_test_has_had(pool: Pool) -> None:
    first = pool.get(SPEC, clean=True)
    assert pool.fits(SPEC) and not pool.fits(SPEC, clean=True)
    assert pool.get(SPEC) is first, "a test that does not care takes what there is"
    assert pool.get(SPEC, clean=True) is not first
    assert pool.log == ["boot 3l 4096", "close", "boot 3l 4096"]
