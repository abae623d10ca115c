# SPDX-License-Identifier: GPL-2.0-or-later
"""Build and boot a machine with the requested guests, for interactive use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import EvhError, UserError
from harness.core.records import DEFAULT_TREES, LINUX, LINUX_3L, XEN_3L, Abi, GuestSpec, MachineSpec, Trees
from harness.monitor.waits import MachineCrashed
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.machine.machine import Machine
    from harness.run.snapshots import Snapshots


def components_of(guests: Sequence[str]) -> frozenset[str]:
    """Components that these kinds of guest need.

    Raises:
        UserError: a kind is unknown.
    """
    for kind in guests:
        if kind not in KINDS:
            raise UserError(f"unknown guest {kind!r}", hint=f"Known: {', '.join(KINDS)}.")
    return frozenset({LINUX}).union(*(KINDS[kind].components for kind in guests))


def booted(
    stack: ExitStack,
    progress: Progress,
    *,
    guests: Sequence[str],
    abi: Abi = Abi.L3,
    memory: int = 4096,
    trees: Trees = DEFAULT_TREES,
    xen_args: str = "",
    dom0_args: str = "",
    accel: str = "auto",
    connect: str | None = None,
    jobs: int | None = None,
    run_dir: Path | None = None,
    snapshots: bool = False,
) -> tuple[Machine, Path]:
    """Build and boot a machine, and start guests named after their kinds.

    Args:
        stack: closes the machine, and then lets go of its folder and of the store.
        memory: MiB of the machine; dom0 gets half.
        trees: which Xen and which Linux to build.
        snapshots: restore the machine if one like it was saved; else save it.

    Returns:
        The machine and its run folder.

    Raises:
        UserError, InfraError, MachineLost.
    """
    components = components_of(guests)
    from harness.build.graph import build
    from harness.guest.guest import Guest
    from harness.machine.accelerator import choose_accelerator
    from harness.machine.kvm_proof import prove
    from harness.machine.machine import Machine
    from harness.run.folder import run_folder
    from harness.run.snapshots import Snapshots
    from harness.store.artifacts import Store
    from harness.store.snapshots import Snapshots as Kept

    accelerator = choose_accelerator(want=accel)
    progress.say(accelerator.line)
    store = Store()
    stack.enter_context(store.in_use(say=progress.say))
    built = build(
        store=store, progress=progress, jobs=jobs, components=components, trees=trees,
    )  # fmt: skip
    if abi is Abi.L3 and (why := built.lacks.get(XEN_3L) or built.lacks.get(LINUX_3L)):
        progress.say(f"{why}: dom0 and the guests use FIFO")
        abi = Abi.FIFO
    folder = stack.enter_context(run_folder(run_dir))
    if not accelerator.proven:
        with progress.step("prove the accelerator"):
            accelerator = prove(
                accelerator, built=built, run_dir=folder / "kvm-proof", uri=connect, fall_back=accel == "auto"
            )
        progress.say(accelerator.line)
    root = next((KINDS[kind].dom0 for kind in guests if KINDS[kind].dom0), "")
    spec = MachineSpec(
        abi=abi, memory_mib=memory, dom0_mib=memory // 2, dom0_image=root,
        xen_args=xen_args, dom0_args=dom0_args,
    )  # fmt: skip

    def make(run_dir: Path) -> Machine:
        machine = Machine(
            built, spec, run_dir=run_dir, accelerator=accelerator, progress=progress, uri=connect
        )
        return stack.enter_context(machine)

    saved = Snapshots(Kept(say=progress.say), tell=progress.say) if snapshots else None
    machine = _started(make, folder, saved, progress)
    seconds = machine.restore_seconds or machine.boot_seconds
    progress.say(f"dom0 answers over SSH {seconds:.1f} s after QEMU started")
    for number, kind in enumerate(guests):
        name = kind if kind not in guests[:number] else f"{kind}-{number}"
        with progress.step(f"start guest {name}"):
            Guest(machine, GuestSpec(name=name, kind=kind, abi=abi, max_event_channels=(1 << 19) - 1)).start()
    return machine, folder


def _started(
    make: Callable[[Path], Machine], folder: Path, snapshots: Snapshots | None, progress: Progress
) -> Machine:
    """A machine that was restored or, if there is no snapshot or it does not come up, booted.

    Raises:
        MachineLost: the boot failed, or a restored machine crashed, now or before it was saved.
    """
    machine = make(folder)
    with snapshots.find(machine) if snapshots else nullcontext() as snapshot:
        if snapshots is not None and snapshot is not None:
            try:
                with progress.step("restore"):
                    machine.restore(snapshot)
                return machine
            except MachineCrashed:
                raise
            except (EvhError, OSError) as error:
                snapshots.refuse(machine, error)
                machine.close()
                machine = make(folder / "booted")
    with progress.step(f"boot (dom0 {machine.spec.abi})"):
        machine.boot()
    if snapshots is not None:
        snapshots.save(machine)
    return machine
