# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a bare guest as Xen's dom0: a verdict on the hypervisor, with no Linux in the way.

QEMU is run directly: there is no disk, no network and nothing to talk to, the
guest says what it has to say on the console and ends the machine. It dies
with the harness (SIGTERM on the parent's death, see process.run).

A deterministic boot counts instructions instead of time (QEMU's icount), so
that the same seed gives the same console, bit for bit, on any machine
(docs/repro.md).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.core import process
from harness.core.errors import UserError
from harness.core.records import Accelerator, Verdict
from harness.machine.bundle import write_bundle
from harness.machine.direct import watch
from harness.machine.rescue import Rescue
from harness.monitor import crashlines, ktap
from harness.monitor.waits import MachineLost

# Seconds. Xen boots in one second and a half, the tests take as much again.
DEADLINE = 60.0
# QEMU's instruction counter runs on one thread, and a seed that is worth its name runs thousands of rounds.
COUNTED_DEADLINE = 300.0
# The guest that builds the others as domUs, and those that cannot be dom0 themselves.
BUILDER = "bare-pv64"
DOMU_ONLY = ("bare-pvh64", "bare-pvh32")
# 2**3 ns of virtual time an instruction. With 0 a boot takes five times as long, as timers come as often by
# the clock and so eight times as often by the instruction.
ICOUNT = "shift=3,sleep=off"


class BareLost(MachineLost):
    """A bare guest did not get to a test, or not to its result."""

    def __init__(self, run: BareRun) -> None:
        super().__init__(run.reason, hint=f"its console: {run.console}")
        self.verdict = run.verdict if run.verdict is not Verdict.PASS else Verdict.ERROR
        self.layer = run.layer


@dataclass(frozen=True, kw_only=True)
class BareSpec:
    """A boot of a bare guest: equal ones are made once a run.

    Attributes:
        kind: ``bare-pv64`` and so on. PVH ones are domUs, built by ``bare-pv64``.
        suite, test, seed, rounds: words of the guest's command line; left out where empty or None.
        domu: run the tests inside a domU of this kind; empty: see ``kind``.
        deterministic: count instructions instead of time; always under TCG.
        vcpus: of dom0; ``cpus`` says how many the machine has.
        memory_mib: of the machine; dom0 gets what ``xen_args`` says, or 256 MiB.
        deadline: seconds until it counts as a hang; None: by what it is.
    """

    kind: str
    suite: str = ""
    test: str = ""
    seed: int | None = None
    rounds: int | None = None
    domu: str = ""
    deterministic: bool = False
    vcpus: int = 2
    memory_mib: int = 1024
    xen_args: str = ""
    extra_args: str = ""
    deadline: float | None = None

    @property
    def args(self) -> str:
        """The guest's command line."""
        words = {
            "suite": self.suite,
            "test": self.test,
            "seed": self.seed,
            "rounds": self.rounds,
            "domu": self.domu or (self.kind if self.kind in DOMU_ONLY else ""),
        }
        told = [f"{name}={value}" for name, value in words.items() if value not in ("", None)]
        return " ".join([*told, *self.extra_args.split()])

    @property
    def name(self) -> str:
        """For its console's file; boots that differ in less than this are numbered."""
        parts = [self.kind, self.suite, self.test, "" if self.seed is None else f"seed{self.seed}"]
        return "-".join(filter(None, parts))


def dom0_of(kind: str) -> str:
    """The kind that Xen boots to have ``kind`` tested."""
    return BUILDER if kind in DOMU_ONLY else kind


def cpus(*, vcpus: int, deterministic: bool) -> int:
    """CPUs of the machine: one more than dom0 has, for Xen to be busy on.

    Not where one vCPU counts instructions: QEMU can record and replay a machine with one CPU.
    """
    return 1 if deterministic and vcpus == 1 else vcpus + 1


def ignore(case: ktap.Case) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class BareRun:
    """What came of one boot.

    Attributes:
        verdict: PASS, FAIL, CRASH (Xen's crash line), HANG or ERROR (QEMU).
        reason: one sentence; empty for PASS.
        layer: whose fault it is, where that is known.
        console: where the console was recorded.
        seconds: from QEMU's start to its end.
        heard: called with each result that a test asks for.
    """

    verdict: Verdict
    reason: str
    layer: str
    results: ktap.Results
    console: Path
    seconds: float
    heard: Callable[[ktap.Case], None] = field(default=ignore, compare=False, repr=False)

    def case(self, name: str) -> ktap.Case:
        """The result of one test.

        Raises:
            BareLost: there is none, as the guest or Xen died before; or Xen
                crashed, which no result from that boot outlives.
        """
        found = next((case for case in self.results.cases if case.name == name), None)
        if found is None or self.verdict not in (Verdict.PASS, Verdict.FAIL):
            raise BareLost(self)
        self.heard(found)
        return found


def qemu_words(
    *,
    accelerator: str,
    args: str = "",
    bundle: bool = False,
    deterministic: bool = False,
    vcpus: int = 1,
    memory_mib: int = 1024,
    xen_args: str = "",
    icount: str = ICOUNT,
) -> list[str]:
    """QEMU's command line, without the program.

    Its files are ``xen``, ``kernel`` and ``bundle`` in the current directory:
    their names become part of the guest's memory, so they must not say where
    somebody's checkout or store is.

    Args:
        accelerator: ``kvm`` or ``tcg``; deterministic boots are always ``tcg``.
        icount: QEMU's option of that name, for deterministic boots.
    """
    words = ["console=com1", "loglvl=all", "guest_loglvl=all", f"dom0_max_vcpus={vcpus}"]
    if "dom0_mem=" not in xen_args:
        words.append("dom0_mem=256M")
    if deterministic:
        words.append("console_timestamps=raw")
        accelerator = "tcg"
    counted = ["-icount", icount, "-rtc", "base=2026-01-01,clock=vm"] if deterministic else []
    # A comma would begin the next module.
    kernel = f"kernel {args}".strip().replace(",", ",,")
    return [
        "-accel", f"{accelerator},thread=single" if deterministic else accelerator, *counted,
        "-machine", "q35", "-cpu", "host" if accelerator == "kvm" else "qemu64,+svm,+npt",
        "-smp", str(cpus(vcpus=vcpus, deterministic=deterministic)), "-m", str(memory_mib),
        "-display", "none", "-monitor", "none",
        "-nodefaults", "-serial", "stdio", "-no-reboot", "-net", "none",
        "-kernel", "xen", "-append", " ".join([*words, *xen_args.split()]),
        "-initrd", f"{kernel},bundle" if bundle else kernel,
    ]  # fmt: skip


def place(folder: Path, *, xen: Path, kernel: Path, bundle: Path | None) -> None:
    """Put what QEMU reads into ``folder`` under the names that ``qemu_words`` has for them."""
    for name, path in (("xen", xen), ("kernel", kernel), ("bundle", bundle)):
        if path is not None:
            (folder / name).symlink_to(path.resolve())


def boot(
    *,
    xen: Path,
    kernel: Path,
    accelerator: Accelerator,
    run_dir: Path,
    name: str = "bare",
    args: str = "",
    bundle: Path | None = None,
    deterministic: bool = False,
    vcpus: int = 1,
    memory_mib: int = 1024,
    xen_args: str = "",
    deadline: float | None = None,
    seed: int | None = None,
    coverage: Rescue | None = None,
) -> BareRun:
    """Boot ``kernel`` as dom0 of ``xen``, until the guest ends the machine.

    Args:
        xen: 32-bit multiboot ELF.
        kernel: a bare guest.
        run_dir: gets ``console-<name>.log``, line by line as it comes.
        args: the guest's command line.
        bundle: second module, what dom0 builds domUs from.
        deterministic: count instructions instead of time.
        vcpus: of dom0; ``cpus`` says how many the machine has.
        deadline: seconds until it counts as a hang; None: ``DEADLINE`` or ``COUNTED_DEADLINE``.
        seed: what the guest must say it drew from.
        coverage: takes Xen's counters out of the machine when it ends.

    Raises:
        InfraError: QEMU could not be started, or the disk is full.
    """
    qemu = process.need("qemu-system-x86_64", package="qemu-system-x86")
    if deadline is None:
        deadline = COUNTED_DEADLINE if deterministic else DEADLINE
    words = qemu_words(
        accelerator=accelerator.kind, args=args, bundle=bundle is not None, deterministic=deterministic,
        vcpus=vcpus, memory_mib=memory_mib, xen_args=xen_args,
    )  # fmt: skip
    run_dir.mkdir(parents=True, exist_ok=True)
    console = run_dir / f"console-{name}.log"
    started = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=run_dir, prefix=".boot-")))
        place(folder, xen=xen, kernel=kernel, bundle=bundle)
        if coverage is not None:
            words += stack.enter_context(coverage.beside(folder))
        lines, problem, late = watch([qemu, *words], folder=folder, console=console, deadline=deadline)
    results = ktap.parse(lines)
    verdict, layer, reason = _judge(
        lines, results, problem=problem, late=f"{deadline:.0f} s" if late else "", seed=seed
    )
    return BareRun(
        verdict=verdict,
        reason=reason,
        layer=layer,
        results=results,
        console=console,
        seconds=round(time.monotonic() - started, 3),
    )


def boot_spec(
    spec: BareSpec,
    *,
    xen: Path,
    guests: Path,
    accelerator: Accelerator,
    run_dir: Path,
    name: str = "",
    coverage: Rescue | None = None,
) -> BareRun:
    """Boot what ``spec`` asks for.

    Args:
        guests: folder of the built bare guests.
        name: of the console's file; the spec's own where empty.

    Raises:
        UserError: there is no such bare guest.
        InfraError: as ``boot``.
    """
    dom0 = dom0_of(spec.kind)
    for kind in {spec.kind, dom0}:
        if not (guests / kind).is_file():
            known = ", ".join(sorted(path.name for path in guests.glob("bare-*")))
            raise UserError(f"there is no bare guest {kind}", hint=f"images/bare builds: {known}.")
    with tempfile.TemporaryDirectory(prefix="evh-") as folder:
        bundle = write_bundle(Path(folder) / "bundle", guests)
        return boot(
            xen=xen,
            kernel=guests / dom0,
            accelerator=accelerator,
            run_dir=run_dir,
            name=name or spec.name,
            args=spec.args,
            bundle=bundle,
            deterministic=spec.deterministic,
            vcpus=spec.vcpus,
            memory_mib=spec.memory_mib,
            xen_args=spec.xen_args,
            deadline=spec.deadline,
            seed=spec.seed,
            coverage=coverage,
        )


def _judge(
    lines: list[str], results: ktap.Results, *, problem: str, late: str, seed: int | None = None
) -> tuple[Verdict, str, str]:
    """Verdict, guilty layer, and why; worst first, as a crash explains a missing result."""
    for line in lines:
        layer = "xen" if crashlines.is_xen(line) else "bare"
        if (whose := crashlines.blame(layer, line.strip())) is not None:
            return Verdict.CRASH, whose, line.strip()
    if problem:
        return Verdict.ERROR, "qemu", problem
    if late:
        got = results.problem or "all results came"
        return Verdict.HANG, "", f"the machine had not ended after {late}; {got}"
    if results.problem:
        return Verdict.CRASH, "bare", f"the guest ended early: {results.problem}"
    if seed is not None and results.seed not in (None, seed):
        return Verdict.ERROR, "bare", f"the guest was given seed {seed}, and drew from {results.seed}"
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, "xen", f"failed: {', '.join(failed)}"
    return Verdict.PASS, "", ""

