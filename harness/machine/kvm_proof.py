# SPDX-License-Identifier: GPL-2.0-or-later
"""Prove by a trial boot that KVM runs nested Xen, once per run and before anything else is booted.

That /dev/kvm opens and creates a vCPU proves nothing: on a software backend,
firmware ran but Linux hung forever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.errors import InfraError
from harness.core.records import Accelerator, Built, MachineSpec, Verdict
from harness.machine import bare
from harness.machine.machine import Machine
from harness.monitor.waits import MachineCrashed, MachineLost, TimedOut

# Seconds, not scaled: on a KVM that works the trial boot takes one or two.
PATIENCE = 30.0
# A guest and a test that end at once.
TRIAL = bare.BareSpec(kind="bare-pv64", suite="conformance", test="lowest_free_port_first", deadline=PATIENCE)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """How a trial boot went.

    Attributes:
        problem: in one line; empty if it went well.
        crashed: whether Xen or its dom0 printed a crash line, so that it ran on this KVM until then.
    """

    problem: str = ""
    crashed: bool = False


def prove(
    accelerator: Accelerator, *, built: Built, run_dir: Path, uri: str | None = None, fall_back: bool
) -> Accelerator:
    """The accelerator to use, proven; its reason says what the trial boot showed.

    Args:
        accelerator: as chosen. TCG needs no proof.
        built: what to boot: dom0 up to its kernel's first line, or a bare guest if no Linux was built.
        run_dir: gets the trial's consoles.
        uri: as for ``Machine``.
        fall_back: use TCG if KVM fails; otherwise, where the user asked for KVM, that is an error.

    Raises:
        InfraError: KVM failed, and ``fall_back`` is not set.
    """
    if accelerator.kind != "kvm" or accelerator.proven:
        return accelerator
    began = time.monotonic()
    trial = _boot_linux if built.kernel.is_file() else _boot_bare
    got = trial(built, accelerator, run_dir, uri)
    took = time.monotonic() - began
    if not got.problem:
        reason = f"{accelerator.reason}; proven by a trial boot of Xen in {took:.1f} s"
        return replace(accelerator, reason=reason, proven=True)
    if fall_back:
        reason = f"TCG: KVM looked usable, but a trial boot of Xen on it {got.problem}"
        return Accelerator(kind="tcg", reason=reason)
    if got.crashed:
        # The Xen or Linux under test may be to blame, which the user wants to see on KVM.
        reason = f"{accelerator.reason}; a trial boot of Xen {got.problem}"
        return replace(accelerator, reason=reason, proven=True)
    raise InfraError(
        f"KVM was requested, but a trial boot of Xen on it {got.problem}",
        hint=f"see the console in {run_dir}; `--accel auto` uses emulation instead",
    )


def _boot_linux(built: Built, accelerator: Accelerator, run_dir: Path, uri: str | None) -> _Trial:
    """Boot until dom0's kernel prints its first line."""
    spec = MachineSpec(memory_mib=1024, dom0_mib=512, vcpus=1, dom0_args="panic=0")
    end = time.monotonic() + PATIENCE
    machine = Machine(built, spec, run_dir=run_dir, accelerator=accelerator, progress=_Quiet(), uri=uri)
    try:
        with machine:
            machine.start()
            machine.wait_xen(total=PATIENCE)
            machine.consoles.wait_line(
                "Linux version",
                watchdog=machine.watchdog,
                what="dom0's first line",
                total=max(1.0, end - time.monotonic()),
            )
    except (MachineLost, InfraError) as error:
        how = "hung" if isinstance(error, TimedOut) else "failed"
        return _Trial(
            problem=f"{how} ({error.message.splitlines()[0]})", crashed=isinstance(error, MachineCrashed)
        )
    return _Trial()


def _boot_bare(built: Built, accelerator: Accelerator, run_dir: Path, uri: str | None) -> _Trial:
    """Boot a bare guest until it has run one test. ``uri`` is of no use: there is no libvirt below it."""
    run = bare.boot_spec(
        TRIAL, xen=built.xen, guests=built.bare, accelerator=accelerator, run_dir=run_dir
    )
    if run.verdict in (Verdict.PASS, Verdict.FAIL):
        return _Trial()
    how = "hung" if run.verdict is Verdict.HANG else "failed"
    lines = run.reason.splitlines()
    # A QEMU that aborts says why in several lines, the last of which is the cause.
    reason = f"{lines[0]}: {lines[-1].strip()}" if len(lines) > 1 else run.reason
    return _Trial(problem=f"{how} ({reason})", crashed=run.verdict is Verdict.CRASH)


class _Quiet:
    def say(self, text: str) -> None:
        """Print nothing."""
