# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot a bare guest as Xen's dom0: a verdict on the hypervisor, with no Linux in the way.

QEMU is run directly: there is no disk, no network and nothing to talk to, the
guest says what it has to say on the console and ends the machine. It dies
with the harness (SIGTERM on the parent's death, see proc.run).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness import crashlines, ktap, proc
from harness.errors import InfraError
from harness.model import Accelerator, Verdict
from harness.waits import MachineLost


class BareLost(MachineLost):
    """A bare guest did not get to a test, or not to its result."""

    def __init__(self, run: BareRun) -> None:
        super().__init__(run.reason, hint=f"its console: {run.console}")
        self.verdict = run.verdict if run.verdict is not Verdict.PASS else Verdict.ERROR
        self.layer = run.layer


# Xen boots in one second and a half, the tests take as much again.
DEADLINE = 60.0


@dataclass(frozen=True, kw_only=True)
class BareRun:
    """What came of one boot.

    Attributes:
        verdict: PASS, FAIL, CRASH (Xen's crash line), HANG or ERROR (QEMU).
        reason: one sentence; empty for PASS.
        layer: whose fault it is, where that is known.
        console: where the console was recorded.
        seconds: from QEMU's start to its end.
    """

    verdict: Verdict
    reason: str
    layer: str
    results: ktap.Results
    console: Path
    seconds: float

    def case(self, name: str) -> ktap.Case:
        """The result of one test.

        Raises:
            BareLost: there is none, as the guest or Xen died before; or Xen
                crashed, which no result from that boot outlives.
        """
        found = next((case for case in self.results.cases if case.name == name), None)
        if found is None or self.verdict not in (Verdict.PASS, Verdict.FAIL):
            raise BareLost(self)
        return found


def boot(
    *,
    xen: Path,
    kernel: Path,
    accelerator: Accelerator,
    run_dir: Path,
    name: str = "bare",
    vcpus: int = 1,
    memory_mib: int = 1024,
    xen_args: str = "",
    deadline: float = DEADLINE,
) -> BareRun:
    """Boot ``kernel`` as dom0 of ``xen``, until the guest ends the machine.

    Args:
        xen: 32-bit multiboot ELF.
        kernel: a bare guest.
        run_dir: gets ``console-<name>.log``.
        vcpus: of dom0; the machine has one CPU more, for Xen to be busy on.
        deadline: seconds until it counts as a hang.

    Raises:
        InfraError: QEMU could not be started.
    """
    qemu = proc.need("qemu-system-x86_64", package="qemu-system-x86")
    console = run_dir / f"console-{name}.log"
    words = f"console=com1 loglvl=all guest_loglvl=all dom0_mem=256M dom0_max_vcpus={vcpus} {xen_args}"
    cpu = "host" if accelerator.kind == "kvm" else "qemu64,+svm,+npt"
    argv: list[str | Path] = [
        qemu, "-accel", accelerator.kind, "-machine", "q35", "-cpu", cpu,
        "-smp", str(vcpus + 1), "-m", str(memory_mib), "-display", "none", "-monitor", "none",
        "-nodefaults", "-serial", "stdio", "-no-reboot", "-net", "none",
        "-kernel", xen, "-append", words.strip(), "-initrd", kernel,
    ]  # fmt: skip
    lines: list[str] = []
    late = threading.Event()
    started = time.monotonic()
    problem = ""
    with proc.children() as scope:

        def give_up() -> None:
            late.set()
            scope.stop()

        timer = threading.Timer(deadline, give_up)
        timer.start()
        try:
            proc.run(argv, what="boot a bare guest", on_line=lines.append)
        except proc.Cancelled:
            pass
        except InfraError as error:
            problem = error.message
        finally:
            timer.cancel()
    run_dir.mkdir(parents=True, exist_ok=True)
    console.write_text("".join(lines))
    results = ktap.parse(lines)
    verdict, layer, reason = _judge(
        lines, results, problem=problem, late=f"{deadline:.0f} s" if late.is_set() else ""
    )
    return BareRun(
        verdict=verdict,
        reason=reason,
        layer=layer,
        results=results,
        console=console,
        seconds=round(time.monotonic() - started, 3),
    )


def _judge(
    lines: list[str], results: ktap.Results, *, problem: str, late: str
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
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, "xen", f"failed: {', '.join(failed)}"
    return Verdict.PASS, "", ""
