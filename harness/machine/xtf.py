# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot tests of the Xen Test Framework (XTF) as Xen's dom0, without a toolstack, and read their results.

A test takes a second or two. ``plan/xtf.py`` says how each is booted.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import InfraError
from harness.core.records import Accelerator
from harness.machine import bare, direct
from harness.monitor.crashlines import blame, is_xen
from harness.monitor.crashreports import first_crash
from harness.monitor.knownissues import KnownIssues
from harness.plan.xtf import XtfTest

DEADLINE = 30.0  # seconds at reference speed
BANNER = "--- Xen Test Framework ---"
RESULT = "Test result: "
# Xen's last words, whether dom0 shuts down or crashes (common/shutdown.c). Only then is a result complete: a
# test prints it before it shuts down.
THE_END = "(XEN) Hardware Dom0 "
_RESULT = re.compile(rf"{RESULT}(SUCCESS with warnings|SUCCESS|SKIP|ERROR|FAILURE)\s*$")
_COMPLAINT = re.compile(
    r"\s*(?:Fail|Error|Skip|Warning)\w*\b"
    r"|.*\b(?:not (?:detected|supported|available)|unavailable|unsupported)\b"
)
_NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b")
# QEMU's own messages, such as that it was told to end.
_QEMU = re.compile(r"qemu-system-\w+: ")
# Where Xen was when it crashed; the group is a function and an offset.
_RIP = re.compile(r"\(XEN\) RIP: .*\] (\S+)")


class Result(enum.StrEnum):
    """How a test ended, best first; XTF's own results in its own order, then what it cannot say itself."""

    SUCCESS = "success"
    WARNINGS = "success with warnings"
    SKIP = "skip"
    ERROR = "error"
    FAILURE = "failure"
    HANG = "hang"
    CRASH = "crash"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one boot.

    Attributes:
        layer: for a crash, whose: ``xen``, ``dom0`` (Xen ended the test, or the test gave up) or ``xtf``
            (it is gone without a word); empty otherwise.
        reason: one line; empty for a success.
        said: what the test printed, from XTF's banner to its result.
        crash: Xen's lines about a crash without their numbers, which differ from build to build.
    """

    result: Result
    layer: str = ""
    reason: str = ""
    said: tuple[str, ...] = ()
    crash: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Result and reason in one line."""
        return f"{self.result}: {self.reason}" if self.reason else str(self.result)


def qemu_words(test: XtfTest, accelerator: str) -> list[str]:
    """QEMU's command line for one test, without the program."""
    return bare.qemu_words(
        accelerator=accelerator,
        args=test.args,
        vcpus=test.vcpus,
        xen_args=test.xen_args(accelerator=accelerator),
    )


def boot(
    test: XtfTest, *, kernels: Path, xen: Path, accelerator: Accelerator, console: Path
) -> direct.Watched:
    """Boot one test as dom0, until it has shut down or crashed.

    Args:
        kernels: folder of XTF's built kernels.
        xen: 32-bit multiboot ELF.
        console: file that gets the console.

    Raises:
        InfraError: QEMU could not be started.
    """
    return direct.boot(
        qemu_words(test, accelerator.kind),
        files=bare.files(xen=xen, kernel=kernels / test.kernel),
        run_dir=console.parent,
        console=console,
        deadline=DEADLINE,
        milestone=bare.milestone(vcpus=test.vcpus),
        until=THE_END,
    )


def read(
    lines: Sequence[str], *, late: str = "", problem: str = "", known: KnownIssues | None = None
) -> Outcome:
    """The outcome, from the console.

    Args:
        late: the deadline that ended the machine, if one did.
        problem: QEMU's message, if it failed.
        known: crashes to pass over.

    Raises:
        InfraError: QEMU failed, and the console does not say that anything crashed.
    """
    lines = [line.rstrip() for line in lines]
    begin = next((n for n, line in enumerate(lines) if BANNER in line), len(lines))
    said = tuple(line for line in lines[begin + 1 :] if line and not is_xen(line) and not _QEMU.match(line))
    last = f"last line: {said[-1].strip()}" if said else "it printed nothing"
    passes = (known or KnownIssues()).passes
    if crash := first_crash(lines, other="xtf", passes=passes):
        # A test that gives up says why; of that, Xen only says that its dom0 has crashed.
        reason = (_panic(said) if crash.layer == "dom0" else "") or crash.line
        return Outcome(
            result=Result.CRASH, layer=crash.layer, reason=reason, said=said, crash=_crash_lines(lines)
        )
    if problem:
        raise InfraError(f"QEMU failed: {problem}", hint="Try the same boot on another version of QEMU.")
    if late:
        reason = f"not shut down after {late}; {last}"
        return Outcome(result=Result.HANG, reason=reason, said=said)
    result = next((found[1] for line in said if (found := _RESULT.match(line))), None)
    if result is None or not any(line.startswith(THE_END) for line in lines):
        return Outcome(
            result=Result.CRASH, layer="xtf", reason=f"ended without a result; {last}", said=said
        )
    reason = "" if result == "SUCCESS" else _complaint(said)
    return Outcome(result=Result(result.lower()), reason=reason, said=said)


def _panic(said: Sequence[str]) -> str:
    """The message of the test's own panic; for an exception in two lines: where, and which."""
    at = next((n for n, line in enumerate(said) if line.startswith("PANIC: ")), None)
    return "" if at is None else " ".join(line.strip(" *") for line in said[at : at + 2]).strip()


def _complaint(said: Sequence[str]) -> str:
    """Why a test is no success: its first complaint, or else what it said last."""
    found = next((line for line in said if _COMPLAINT.match(line)), "")
    return (found or " ".join(line.strip() for line in said[2:-1][-2:])).strip()


def _crash_lines(lines: Sequence[str]) -> tuple[str, ...]:
    crashed = [line for line in lines if is_xen(line) and blame("xen", line)]
    places = [found[1] for line in lines if (found := _RIP.match(line))]
    return tuple(map(without_numbers, [*crashed, *places]))


def without_numbers(line: str) -> str:
    """A line with a ``#`` for each decimal or hexadecimal number."""
    return _NUMBER.sub("#", line)

