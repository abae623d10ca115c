# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions by which a run builds, boots and starts guests; unit tests replace them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.records import Accelerator, Built, GuestSpec, MachineSpec
from harness.run.request import RunRequest
from harness.store.artifacts import Artifact, Store

if TYPE_CHECKING:
    from harness.core.progress import Progress
    from harness.guest.guest import Guest
    from harness.machine.machine import Machine
    from harness.run.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True)
class Backends:
    """The functions that a run calls; unit tests pass fakes.

    Attributes:
        choose: chooses the accelerator.
        prove: proves the chosen accelerator by a trial boot in the given folder.
        build: builds everything a machine boots, with the given components (``build.graph.build``).
        machine: makes a machine, not booted yet.
        snapshots: the store's saved machines; is given what tells the user.
        guest: starts a guest on a machine and waits until it answers.
        hold: with ``keep``, called with the last machine; returns when the user is done.
        xtf: builds XTF from the request's checkout.
        kunit: builds the kernel that runs the KUnit tests of a kind.
        store_in_use: keeps the store from being removed while the block runs.
    """

    choose: Callable[[str], Accelerator]
    prove: Callable[[RunRequest, Built, Accelerator, Path], Accelerator]
    build: Callable[[RunRequest, Progress, frozenset[str]], Built]
    machine: Callable[[RunRequest, Built, MachineSpec, Path, Accelerator, Progress], Machine]
    snapshots: Callable[[Callable[[str], object]], Snapshots | None]
    guest: Callable[[Machine, GuestSpec], Guest]
    hold: Callable[[Machine, Path], None]
    xtf: Callable[[RunRequest, Progress], Artifact]
    kunit: Callable[[RunRequest, Progress, str], Artifact]
    store_in_use: Callable[[Progress], AbstractContextManager[None]]


def real_backends() -> Backends:
    """The real backends. Imported late, because `evh --help` needs neither libvirt nor paramiko."""
    from harness.build.graph import build
    from harness.build.kunit import build_kernel
    from harness.guest.guest import Guest
    from harness.machine.accelerator import choose_accelerator
    from harness.machine.attach import hold
    from harness.machine.kvm_proof import prove
    from harness.machine.machine import Machine
    from harness.run.snapshots import Snapshots
    from harness.store import snapshots

    return Backends(
        choose=lambda want: choose_accelerator(want=want),
        prove=lambda request, built, accelerator, folder: prove(
            accelerator,
            built=built,
            run_dir=folder,
            uri=request.uri,
            fall_back=request.accelerator == "auto",
        ),
        xtf=_build_xtf,
        kunit=lambda request, progress, kind: build_kernel(
            kind,
            store=Store(),
            progress=progress,
            trees=request.trees,
            jobs=request.jobs,
            flavour=request.selection.flavour,
        ),
        build=lambda request, progress, components: build(
            store=Store(),
            progress=progress,
            trees=request.trees,
            jobs=request.jobs,
            flavour=request.selection.flavour,
            components=components,
        ),
        machine=lambda request, built, spec, folder, accelerator, progress: Machine(
            built, spec, run_dir=folder, accelerator=accelerator, progress=progress, uri=request.uri
        ),
        snapshots=lambda tell: Snapshots(snapshots.Snapshots(say=tell), tell=tell),
        guest=lambda machine, spec: Guest(machine, spec).start(),
        hold=hold,
        store_in_use=lambda progress: Store().in_use(say=progress.say),
    )


def _build_xtf(request: RunRequest, progress: Progress) -> Artifact:
    from harness.build.xtf import build

    assert request.selection.xtf is not None
    return build(request.selection.xtf, store=Store(), progress=progress, jobs=request.jobs)
