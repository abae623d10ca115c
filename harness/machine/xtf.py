# SPDX-License-Identifier: GPL-2.0-or-later
"""XTF's own tests (the Xen Test Framework, xenbits' xtf.git) on our Xen, out of a checkout that is given.

Its PV kernels are booted as dom0, as our bare guests are: no toolstack is
needed, and a test takes a second or two. Its HVM ones need one, and are left out.
"""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.core import process
from harness.core.errors import EvhError
from harness.core.records import Accelerator, Verdict
from harness.machine import bare
from harness.machine.direct import watch
from harness.monitor import crashlines

DEADLINE = 60.0
RESULT = "Test result: "
_RESULT = re.compile(rf"{RESULT}(SUCCESS|SKIP|ERROR|FAILURE|CRASH)")


class XtfFailed(EvhError):
    """A test of XTF's did not end in success; the verdict says how."""

    def __init__(self, verdict: Verdict, layer: str, reason: str, console: Path) -> None:
        super().__init__(reason, hint=f"its console: {console}")
        self.verdict = verdict
        self.layer = layer


@dataclass(frozen=True, kw_only=True)
class XtfRun:
    """How one test ended, and where its console is."""

    verdict: Verdict
    layer: str
    reason: str
    console: Path
    seconds: float


def boot(test: str, *, kernels: Path, xen: Path, accelerator: Accelerator, run_dir: Path) -> XtfRun:
    """Boot one test as dom0 and wait for its result line.

    Raises:
        InfraError: QEMU could not be started.
    """
    qemu = process.need("qemu-system-x86_64", package="qemu-system-x86")
    words = bare.qemu_words(accelerator=accelerator.kind, vcpus=2)
    console = run_dir / f"console-xtf-{test}.log"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=run_dir, prefix=".boot-") as name:
        folder = Path(name)
        bare.place(folder, xen=xen, kernel=kernels / f"test-{test}", bundle=None)
        lines, problem, late = watch(
            [qemu, *words], folder=folder, console=console, deadline=DEADLINE, until=RESULT
        )
    verdict, layer, reason = judge(lines, problem=problem, late=late)
    seconds = round(time.monotonic() - started, 3)
    return XtfRun(verdict=verdict, layer=layer, reason=reason, console=console, seconds=seconds)


def judge(lines: list[str], *, problem: str = "", late: bool = False) -> tuple[Verdict, str, str]:
    """Verdict, whose fault, and why.

    XTF's ERROR says that the test itself could not do its work: that is no word about Xen.
    """
    for line in lines:
        layer = "xen" if crashlines.is_xen(line) else "xtf"
        if (whose := crashlines.blame(layer, line.strip())) is not None:
            return Verdict.CRASH, whose, line.strip()
    own = [line.strip() for line in lines if line.strip() and not crashlines.is_xen(line)]
    said = own[-1] if own else ""
    result = next((found[1] for line in lines if (found := _RESULT.match(line))), None)
    if result is None:
        if problem:
            return Verdict.ERROR, "qemu", problem
        if late:
            return Verdict.HANG, "", f"no result after {DEADLINE:.0f} s; its last line: {said}"
        return Verdict.CRASH, "xtf", f"it ended without a result; its last line: {said}"
    why = next((line.strip() for line in lines if re.match(r"(Fail|Error|Skip)\w*:", line)), "")
    return {
        "SUCCESS": (Verdict.PASS, "", ""),
        "SKIP": (Verdict.SKIP, "", why or "XTF skipped it"),
        "ERROR": (Verdict.ERROR, "xtf", why or "XTF: the test itself failed"),
        "FAILURE": (Verdict.FAIL, "xen", why or "XTF: failure"),
        "CRASH": (Verdict.CRASH, "xtf", why or "XTF: crash"),
    }[result]

