# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot the KUnit tests of the Linux series: a small kernel in QEMU, without Xen.

The kernel's part of the ABI (where a port's bits are, in which order they are scanned), and what it does
when it is refused something, need no hypervisor. ``kunit64`` is an x86-64
kernel and ``kunit32`` an i386 one. Both are built from tinyconfig and the
fragments in the base's ``config/kunit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.records import Accelerator, Verdict
from harness.machine import direct
from harness.machine.bare import BareRun
from harness.monitor import ktap
from harness.monitor.crashreports import first_crash
from harness.monitor.knownissues import KnownIssues

# What the names of the series' suites begin with.
SUITES = "xen-events-"
LAYER = "linux"
# Seconds at reference speed. Under emulation the tests take about ten, most of it on tests that try each port
# alone.
DEADLINE = 240.0
# The end of the kernel's own boot.
MILESTONE = direct.Milestone(line="KTAP version", seconds=1.0)
MEMORY_MIB = 256
# The kernel reboots after the tests or a panic, and QEMU ends at a reboot.
ARGS = f"console=ttyS0 panic=-1 reboot=t kunit_shutdown=reboot kunit.filter_glob={SUITES}*"


def qemu_words(accelerator: str) -> list[str]:
    """QEMU's command line, without the program; QEMU reads the file ``kernel`` in its current directory."""
    # The kernel has no ACPI, and the BIOS' MP table lists only the first core of each socket.
    return [
        "-accel", accelerator, "-machine", "q35",
        "-cpu", "host" if accelerator == "kvm" else "qemu64",
        "-smp", "2,sockets=2", "-m", str(MEMORY_MIB),
        *direct.WORDS,
        "-kernel", "kernel", "-append", ARGS,
    ]  # fmt: skip


def boot(
    kernel: Path, *, kind: str, accelerator: Accelerator, run_dir: Path, known: KnownIssues | None = None
) -> BareRun:
    """Boot a KUnit kernel, until it has run its tests.

    Args:
        kind: ``kunit64`` or ``kunit32``; names the console's file.
        run_dir: gets ``console-<kind>.log``.
        known: crashes to pass over.

    Raises:
        InfraError: QEMU could not be started, or the disk is full.
    """
    console = run_dir / f"console-{kind}.log"
    done = direct.boot(
        qemu_words(accelerator.kind),
        files={"kernel": kernel},
        run_dir=run_dir,
        console=console,
        deadline=DEADLINE,
        milestone=MILESTONE,
    )
    results, whole = read(done.lines)
    verdict, layer, reason = judge(
        done.lines, results, whole=whole, problem=done.problem, late=done.late, known=known
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


def read(lines: Sequence[str]) -> tuple[ktap.Results, bool]:
    """The results of all suites of the series together, and whether each suite in the plan has its result.

    KUnit nests KTAP: a suite's tests are indented below ``# Subtest: NAME``,
    and the suite's own result follows them.
    """
    for document in ktap.documents(lines):
        suites = [
            ktap.Results(planned=case.planned, cases=case.children)
            for case in document.cases
            if case.name.startswith(SUITES)
        ]
        whole = len(document.cases) == document.planned
        if document.unfinished is not None and document.unfinished.name.startswith(SUITES):
            suites.append(document.unfinished)
        if not suites:
            continue
        plans = [suite.planned for suite in suites]
        results = replace(
            suites[-1],
            planned=None if None in plans else sum(plan or 0 for plan in plans),
            cases=tuple(case for suite in suites for case in suite.cases),
        )
        return results, whole
    return ktap.Results(planned=None, cases=()), False


def judge(
    lines: Sequence[str],
    results: ktap.Results,
    *,
    whole: bool,
    problem: str,
    late: str,
    known: KnownIssues | None = None,
) -> tuple[Verdict, str, str]:
    """Verdict, layer at fault and reason. The worst is checked first: a crash explains a missing result."""
    passes = (known or KnownIssues()).passes
    if crash := first_crash(lines, other=LAYER, passes=passes):
        return Verdict.CRASH, LAYER, crash.line
    if problem:
        return Verdict.ERROR, "qemu", problem
    got = results.problem or ("" if whole else "a suite has no result")
    if late:
        got = got or "all results arrived"
        return Verdict.HANG, LAYER, f"the machine did not end within {late}; {got}"
    if got:
        return Verdict.CRASH, LAYER, f"the kernel ended early: {got}"
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, LAYER, f"failed: {', '.join(failed)}"
    return Verdict.PASS, "", ""

