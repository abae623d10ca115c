# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux series' own unit tests (KUnit), in a small kernel booted by QEMU with no Xen under it.

What is pure in the kernel's part of the ABI (where a port's bits are, in which
order they are looked for) needs neither hypervisor nor machine. Both widths:
``kunit64`` is an x86-64 kernel, ``kunit32`` an i386 one. They are built from
tinyconfig and the fragments in the base's ``config/kunit``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.core import process
from harness.core.records import Accelerator, Verdict
from harness.machine.bare import BareRun
from harness.machine.direct import watch
from harness.monitor import crashlines, ktap

SUITE = "xen-events-3l"
LAYER = "linux"
# Seconds. Under emulation the tests take some ten, most of them for each port by itself.
DEADLINE = 240.0
MEMORY_MIB = 256
# The machine ends with the tests: a reboot is QEMU's end, and so is one after a panic.
ARGS = f"console=ttyS0 panic=-1 reboot=t kunit_shutdown=reboot kunit.filter_glob={SUITE}"


def qemu_words(accelerator: str) -> list[str]:
    """QEMU's command line, without the program; its file is ``kernel`` in the current directory."""
    # The BIOS's table for those without ACPI has the first core of each socket, and no other.
    return [
        "-accel", accelerator, "-machine", "q35",
        "-cpu", "host" if accelerator == "kvm" else "qemu64",
        "-smp", "2,sockets=2", "-m", str(MEMORY_MIB),
        "-display", "none", "-monitor", "none",
        "-nodefaults", "-serial", "stdio", "-no-reboot", "-net", "none",
        "-kernel", "kernel", "-append", ARGS,
    ]  # fmt: skip


def boot(kernel: Path, *, kind: str, accelerator: Accelerator, run_dir: Path) -> BareRun:
    """Boot a KUnit kernel, until it has run its tests.

    Raises:
        InfraError: QEMU could not be started, or the disk is full.
    """
    qemu = process.need("qemu-system-x86_64", package="qemu-system-x86")
    console = run_dir / f"console-{kind}.log"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=run_dir, prefix=".boot-") as folder:
        shutil.copyfile(kernel, Path(folder) / "kernel")
        lines, problem, late = watch(
            [qemu, *qemu_words(accelerator.kind)], folder=Path(folder), console=console, deadline=DEADLINE
        )
    results, whole = read(lines)
    verdict, layer, reason = judge(lines, results, whole=whole, problem=problem, late=late)
    return BareRun(
        verdict=verdict,
        reason=reason,
        layer=layer,
        results=results,
        console=console,
        seconds=round(time.monotonic() - started, 3),
    )


def read(lines: Sequence[str]) -> tuple[ktap.Results, bool]:
    """The results of our suite, and whether the kernel has summed it up.

    KUnit nests: the suite's tests are indented below ``# Subtest: NAME``, and
    its own result comes behind them.
    """
    begin = next((i for i, line in enumerate(lines) if line.strip() == f"# Subtest: {SUITE}"), len(lines))
    total = re.compile(rf"(not )?ok \d+ {re.escape(SUITE)}$")
    end = next((i for i, line in enumerate(lines) if i > begin and total.match(line.rstrip())), None)
    # The suite's own totals are no diagnostics of a test.
    inner = [line for line in lines[begin + 1 : end] if line.startswith("    ")]
    return ktap.parse(inner), end is not None


def judge(
    lines: Sequence[str], results: ktap.Results, *, whole: bool, problem: str, late: bool
) -> tuple[Verdict, str, str]:
    """Verdict, guilty layer, and why; worst first, as a crash explains a missing result."""
    for line in lines:
        if crashlines.blame(LAYER, line) is not None:
            return Verdict.CRASH, LAYER, line.strip()
    if problem:
        return Verdict.ERROR, "qemu", problem
    got = results.problem or ("" if whole else f"there is no result of {SUITE}")
    if late:
        return Verdict.HANG, LAYER, f"the machine had not ended after {DEADLINE:.0f} s; {got or 'all came'}"
    if got:
        return Verdict.CRASH, LAYER, f"the kernel ended early: {got}"
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, LAYER, f"failed: {', '.join(failed)}"
    return Verdict.PASS, "", ""

