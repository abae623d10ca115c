# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a bare guest as Xen's dom0, to test the hypervisor without Linux.

The guest prints its results on the console and then ends the machine;
direct.py runs QEMU. In a deterministic boot QEMU's clock counts instructions
(icount), so that the same seed gives the same console, bit for bit, on any
host (docs/repro.md).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import UserError
from harness.core.records import Accelerator, Verdict
from harness.machine import direct
from harness.machine.bundle import write_bundle
from harness.machine.rescue import Rescue
from harness.monitor import ktap
from harness.monitor.crashreports import first_crash
from harness.monitor.knownissues import KnownIssues
from harness.monitor.waits import MachineLost

# Seconds at reference speed. Xen boots in one and a half seconds, and the tests take as long again.
DEADLINE = 60.0
# Likewise. With icount QEMU uses a single thread, and a test with a seed runs thousands of rounds.
COUNTED_DEADLINE = 300.0
# Xen's last lines before its dom0 runs, or dom0's first one where Xen says less: a bare guest's, or XTF's.
BOOTED = r"\(XEN\) .*(Serial input to DOM|Freed \d+kB init)|KTAP version|--- Xen Test Framework"
# The fewest rounds that a test of a suite runs unless told otherwise (`arg_number("rounds", N)` in
# images/bare/tests). The deadlines are for these; a boot that is told to run more gets as many times longer.
ROUNDS = {"abuse": 50, "conformance": 100, "domains": 12, "race": 1000}
# The guest that builds the others as domUs, and the guests that cannot be dom0.
BUILDER = "bare-pv64"
DOMU_ONLY = ("bare-pvh64", "bare-pvh32")
# 2**3 ns of virtual time per instruction. With shift=0 a boot takes five times as long, since every wait for
# a timer then takes eight times as many instructions.
ICOUNT = "shift=3,sleep=off"


class BareLost(MachineLost):
    """A bare guest did not reach a test, or not its result."""

    def __init__(self, run: BareRun) -> None:
        super().__init__(run.reason, hint=f"see its console: {run.console}")
        self.verdict = run.verdict if run.verdict is not Verdict.PASS else Verdict.ERROR
        self.layer = run.layer


@dataclass(frozen=True, kw_only=True)
class BareSpec:
    """A boot of a bare guest; equal specs share one boot per run.

    Attributes:
        kind: ``bare-pv64`` and so on. PVH kinds are domUs, which ``bare-pv64`` builds.
        suite, test, seed, rounds: words of the guest's command line; omitted if empty or None.
        domu: run the tests inside a domU of this kind; empty: decided by ``kind``.
        deterministic: count instructions instead of time; always under TCG.
        vcpus: of dom0; ``cpus`` gives the machine's number.
        memory_mib: of the machine; dom0 gets what ``xen_args`` specifies, or 256 MiB.
        xen_args, extra_args: further words of Xen's and of the guest's command line.
        deadline: seconds at reference speed until it counts as a hang; None: the default, which grows with
            ``rounds``.
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
        given = [f"{name}={value}" for name, value in words.items() if value not in ("", None)]
        return " ".join([*given, *self.extra_args.split()])

    @property
    def seconds(self) -> float:
        """The deadline, in seconds at reference speed."""
        if self.deadline is not None:
            return self.deadline
        usual = COUNTED_DEADLINE if self.deterministic else DEADLINE
        return usual * max(1.0, (self.rounds or 0) / ROUNDS.get(self.suite, 1))

    @property
    def name(self) -> str:
        """Part of the console's file name. Boots with equal names are numbered by the caller."""
        parts = [self.kind, self.suite, self.test, "" if self.seed is None else f"seed{self.seed}"]
        return "-".join(filter(None, parts))


def dom0_of(kind: str) -> str:
    """The kind that Xen boots as dom0 in order to test ``kind``."""
    return BUILDER if kind in DOMU_ONLY else kind


def cpus(*, vcpus: int, deterministic: bool) -> int:
    """Number of the machine's CPUs: one more than dom0's vCPUs, so that Xen has one without a dom0 vCPU.

    A deterministic machine with one vCPU has one CPU: QEMU can record and replay only such a machine.
    """
    return 1 if deterministic and vcpus == 1 else vcpus + 1


def milestone(*, vcpus: int, deterministic: bool = False) -> direct.Milestone:
    """The end of Xen's boot, and when the reference host gets there.

    Counting instructions takes longer, and each CPU in turn.
    """
    counted = 2.3 + 0.5 * cpus(vcpus=vcpus, deterministic=True)
    return direct.Milestone(line=BOOTED, seconds=counted if deterministic else 1.3)


def ignore(case: ktap.Case) -> None:
    """Do nothing; the default of ``BareRun.on_result``."""


@dataclass(frozen=True, kw_only=True)
class BareRun:
    """The outcome of one boot.

    Attributes:
        verdict: PASS, FAIL, CRASH (of Xen or the guest), HANG or ERROR (QEMU failed, or a wrong seed).
        reason: one sentence; empty for PASS.
        layer: the layer at fault, if known.
        results: what the guest printed.
        console: file that the console was recorded in.
        seconds: from QEMU's start to its end.
        time_scale: how many times slower than the reference host this one was (machine/direct.py).
        on_result: called with each result that a test asks for.
    """

    verdict: Verdict
    reason: str
    layer: str
    results: ktap.Results
    console: Path
    seconds: float
    time_scale: float = 1.0
    on_result: Callable[[ktap.Case], None] = field(default=ignore, compare=False, repr=False)

    def case(self, name: str) -> ktap.Case:
        """The result of one test.

        Raises:
            BareLost: there is no such result, or the boot's verdict is neither
                PASS nor FAIL: a crash or hang invalidates all its results.
        """
        found = next((case for case in self.results.cases if case.name == name), None)
        if found is None or self.verdict not in (Verdict.PASS, Verdict.FAIL):
            raise BareLost(self)
        self.on_result(found)
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

    QEMU reads the files ``xen``, ``kernel`` and ``bundle`` in its current directory.
    QEMU copies their names into the guest's memory, so the names must not contain
    a path, which differs from host to host.

    Args:
        accelerator: ``kvm`` or ``tcg``; deterministic boots always use ``tcg``.
        args: the guest's command line.
        bundle: whether there is a file ``bundle``.
        deterministic, vcpus, memory_mib, xen_args: as in ``BareSpec``.
        icount: value of QEMU's option ``-icount``, for deterministic boots.
    """
    words = ["console=com1", "loglvl=all", "guest_loglvl=all", f"dom0_max_vcpus={vcpus}"]
    if "dom0_mem=" not in xen_args:
        words.append("dom0_mem=256M")
    if deterministic:
        words.append("console_timestamps=raw")
        accelerator = "tcg"
    counted = ["-icount", icount, "-rtc", "base=2026-01-01,clock=vm"] if deterministic else []
    # A single comma separates modules; a doubled one is a literal comma.
    kernel = f"kernel {args}".strip().replace(",", ",,")
    return [
        "-accel", f"{accelerator},thread=single" if deterministic else accelerator, *counted,
        "-machine", "q35", "-cpu", "host" if accelerator == "kvm" else "qemu64,+svm,+npt",
        "-smp", str(cpus(vcpus=vcpus, deterministic=deterministic)), "-m", str(memory_mib),
        *direct.WORDS,
        "-kernel", "xen", "-append", " ".join([*words, *xen_args.split()]),
        "-initrd", f"{kernel},bundle" if bundle else kernel,
    ]  # fmt: skip


def files(*, xen: Path, kernel: Path, bundle: Path | None = None) -> dict[str, Path]:
    """The files that QEMU reads, by the names that ``qemu_words`` has for them."""
    found = {"xen": xen, "kernel": kernel}
    return found if bundle is None else found | {"bundle": bundle}


def place(folder: Path, *, xen: Path, kernel: Path, bundle: Path | None) -> None:
    """Link the files that QEMU reads into ``folder``, under the names that ``qemu_words`` has for them."""
    direct.place(folder, files(xen=xen, kernel=kernel, bundle=bundle))


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
    deadline: float = DEADLINE,
    seed: int | None = None,
    coverage: Rescue | None = None,
    known: KnownIssues | None = None,
) -> BareRun:
    """Boot ``kernel`` as dom0 of ``xen``, until the guest ends the machine.

    Args:
        xen: 32-bit multiboot ELF.
        kernel: a bare guest.
        run_dir: gets ``console-<name>.log``, line by line as it arrives.
        args: the guest's command line.
        bundle: second module, from which dom0 builds domUs.
        deterministic: count instructions instead of time.
        vcpus: of dom0; ``cpus`` gives the machine's number.
        memory_mib: of the machine.
        xen_args: further words of Xen's command line.
        deadline: seconds at reference speed until it counts as a hang.
        seed: the seed that the guest must report, if it reports one.
        coverage: saves Xen's memory, with its coverage counters, when the machine ends.
        known: crashes to pass over.

    Raises:
        InfraError: QEMU could not be started, or the disk is full.
    """
    words = qemu_words(
        accelerator=accelerator.kind, args=args, bundle=bundle is not None, deterministic=deterministic,
        vcpus=vcpus, memory_mib=memory_mib, xen_args=xen_args,
    )  # fmt: skip
    console = run_dir / f"console-{name}.log"
    done = direct.boot(
        words,
        files=files(xen=xen, kernel=kernel, bundle=bundle),
        run_dir=run_dir,
        console=console,
        deadline=deadline,
        milestone=milestone(vcpus=vcpus, deterministic=deterministic),
        beside=coverage.beside if coverage else None,
    )
    results = ktap.parse(done.lines)
    verdict, layer, reason = _judge(
        done.lines, results, problem=done.problem, late=done.late, seed=seed, known=known
    )
    return BareRun(
        verdict=verdict,
        reason=reason,
        layer=layer,
        results=results,
        console=console,
        seconds=done.seconds,
        time_scale=done.time_scale,
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
    known: KnownIssues | None = None,
) -> BareRun:
    """Boot a bare guest as ``spec`` describes.

    Args:
        guests: folder of the built bare guests.
        name: of the console's file; ``spec.name`` if empty.
        xen, accelerator, run_dir, coverage, known: as in ``boot``.

    Raises:
        UserError: there is no such bare guest.
        InfraError: as ``boot``.
    """
    dom0 = dom0_of(spec.kind)
    for kind in {spec.kind, dom0}:
        if not (guests / kind).is_file():
            there = ", ".join(sorted(path.name for path in guests.glob("bare-*")))
            raise UserError(f"there is no bare guest {kind}", hint=f"images/bare builds: {there}.")
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
            deadline=spec.seconds,
            seed=spec.seed,
            coverage=coverage,
            known=known,
        )


def _judge(
    lines: list[str],
    results: ktap.Results,
    *,
    problem: str,
    late: str,
    seed: int | None = None,
    known: KnownIssues | None = None,
) -> tuple[Verdict, str, str]:
    """Verdict, layer at fault and reason. The worst is checked first: a crash explains a missing result."""
    passes = (known or KnownIssues()).passes
    if crash := first_crash(lines, other="bare", passes=passes):
        return Verdict.CRASH, crash.layer, crash.line
    if problem:
        return Verdict.ERROR, "qemu", problem
    if late:
        got = results.problem or "all results arrived"
        return Verdict.HANG, "", f"the machine did not end within {late}; {got}"
    if results.problem:
        return Verdict.CRASH, "bare", f"the guest ended early: {results.problem}"
    if seed is not None and results.seed not in (None, seed):
        return Verdict.ERROR, "bare", f"the guest was given seed {seed} but used seed {results.seed}"
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, "xen", f"failed: {', '.join(failed)}"
    return Verdict.PASS, "", ""

