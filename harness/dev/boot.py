# SPDX-License-Identifier: GPL-2.0-or-later
"""Build and boot a machine with the requested guests, for interactive use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import UserError
from harness.core.records import DEFAULT_TREES, LINUX, LINUX_3L, XEN_3L, Abi, GuestSpec, MachineSpec, Trees
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.machine.machine import Machine


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
) -> tuple[Machine, Path]:
    """Build and boot a machine, and start guests named after their kinds.

    Args:
        stack: closes the machine, and then lets go of its folder and of the store.
        memory: MiB of the machine; dom0 gets half.
        trees: which Xen and which Linux to build.

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
    from harness.store.artifacts import Store

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
    with progress.step(f"boot (dom0 {abi})"):
        machine = stack.enter_context(
            Machine(built, spec, run_dir=folder, accelerator=accelerator, progress=progress, uri=connect)
        )
        machine.boot()
    progress.say(f"dom0 answers over SSH {machine.boot_seconds:.1f} s after QEMU started")
    for number, kind in enumerate(guests):
        name = kind if kind not in guests[:number] else f"{kind}-{number}"
        with progress.step(f"start guest {name}"):
            Guest(machine, GuestSpec(name=name, kind=kind, abi=abi, max_event_channels=(1 << 19) - 1)).start()
    return machine, folder
