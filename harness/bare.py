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

# Xen boots in one second and a half, the tests take as much again.
DEADLINE = 60.0


@dataclass(frozen=True, kw_only=True)
class BareRun:
    """What came of one boot.

    Attributes:
        verdict: PASS, FAIL, CRASH (Xen's crash line), HANG or ERROR (QEMU).
        reason: one sentence; empty for PASS.
        console: where the console was recorded.
        seconds: from QEMU's start to its end.
    """

    verdict: Verdict
    reason: str
    results: ktap.Results
    console: Path
    seconds: float

    def case(self, name: str) -> ktap.Case | None:
        """The result of one test, if it was reached."""
        return next((case for case in self.results.cases if case.name == name), None)


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
    argv = [
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
    verdict, reason = _judge(
        lines, results, problem=problem, late=f"{deadline:.0f} s" if late.is_set() else ""
    )
    return BareRun(
        verdict=verdict,
        reason=reason,
        results=results,
        console=console,
        seconds=round(time.monotonic() - started, 3),
    )


def _judge(
    lines: list[str], results: ktap.Results, *, problem: str, late: str
) -> tuple[Verdict, str]:
    """Worst first: a crash explains a missing result, a missing result a hang."""
    for line in lines:
        layer = "xen" if crashlines.is_xen(line) else "bare"
        if (whose := crashlines.blame(layer, line.strip())) is not None:
            return Verdict.CRASH, f"{whose}: {line.strip()}"
    if problem:
        return Verdict.ERROR, problem
    if late:
        return Verdict.HANG, f"the machine had not ended after {late}; {results.problem or 'all results came'}"
    if results.problem:
        return Verdict.CRASH, f"the guest ended early: {results.problem}"
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, f"failed: {', '.join(failed)}"
    return Verdict.PASS, ""
