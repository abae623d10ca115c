# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot tests of the Xen Test Framework (XTF, xenbits' xtf.git), built from the user's checkout.

XTF's PV kernels are booted as dom0, like the bare guests, so they need no
toolstack and a test takes a second or two. XTF's HVM tests need a toolstack
and are not supported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import EvhError
from harness.core.records import Accelerator, Verdict
from harness.machine import bare, direct
from harness.monitor.crashlines import is_xen
from harness.monitor.crashreports import first_crash
from harness.monitor.knownissues import KnownIssues

DEADLINE = 60.0  # seconds at reference speed
RESULT = "Test result: "
_RESULT = re.compile(rf"{RESULT}(SUCCESS|SKIP|ERROR|FAILURE|CRASH)")


class XtfFailed(EvhError):
    """An XTF test did not succeed; ``verdict`` gives the outcome."""

    def __init__(self, verdict: Verdict, layer: str, reason: str, console: Path) -> None:
        super().__init__(reason, hint=f"see its console: {console}")
        self.verdict = verdict
        self.layer = layer


@dataclass(frozen=True, kw_only=True)
class XtfRun:
    """The outcome of one test; the fields are those of ``bare.BareRun``."""

    verdict: Verdict
    layer: str
    reason: str
    console: Path
    seconds: float
    time_scale: float = 1.0


def boot(
    test: str,
    *,
    kernels: Path,
    xen: Path,
    accelerator: Accelerator,
    run_dir: Path,
    known: KnownIssues | None = None,
) -> XtfRun:
    """Boot one test as dom0 and wait for its result line.

    Args:
        test: name of the test, without ``test-``.
        kernels: folder of XTF's built kernels.
        xen: 32-bit multiboot ELF.
        run_dir: gets ``console-xtf-<test>.log``.
        known: crashes to pass over.

    Raises:
        InfraError: QEMU could not be started.
    """
    console = run_dir / f"console-xtf-{test}.log"
    done = direct.boot(
        bare.qemu_words(accelerator=accelerator.kind, vcpus=2),
        files=bare.files(xen=xen, kernel=kernels / f"test-{test}"),
        run_dir=run_dir,
        console=console,
        deadline=DEADLINE,
        milestone=bare.milestone(vcpus=2),
        until=RESULT,
    )
    verdict, layer, reason = judge(done.lines, problem=done.problem, late=done.late, known=known)
    return XtfRun(
        verdict=verdict, layer=layer, reason=reason, console=console, seconds=done.seconds,
        time_scale=done.time_scale,
    )  # fmt: skip


def judge(
    lines: list[str], *, problem: str = "", late: str = "", known: KnownIssues | None = None
) -> tuple[Verdict, str, str]:
    """Verdict, layer at fault and reason.

    XTF's ERROR means that the test itself could not do its work; it says nothing about Xen.
    """
    passes = (known or KnownIssues()).passes
    if crash := first_crash(lines, printer=lambda line: "xen" if is_xen(line) else "xtf", passes=passes):
        return Verdict.CRASH, crash.layer, crash.line
    own = [line.strip() for line in lines if line.strip() and not is_xen(line)]
    last = own[-1] if own else ""
    result = next((found[1] for line in lines if (found := _RESULT.match(line))), None)
    if result is None:
        if problem:
            return Verdict.ERROR, "qemu", problem
        if late:
            return Verdict.HANG, "", f"no result within {late}; last line: {last}"
        return Verdict.CRASH, "xtf", f"it ended without a result; last line: {last}"
    why = next((line.strip() for line in lines if re.match(r"(Fail|Error|Skip)\w*:", line)), "")
    return {
        "SUCCESS": (Verdict.PASS, "", ""),
        "SKIP": (Verdict.SKIP, "", why or "XTF skipped it"),
        "ERROR": (Verdict.ERROR, "xtf", why or "XTF: the test itself failed"),
        "FAILURE": (Verdict.FAIL, "xen", why or "XTF: failure"),
        "CRASH": (Verdict.CRASH, "xtf", why or "XTF: crash"),
    }[result]

