# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in-guest tools to completion over SSH, and tells a kernel's ABI and its limit.

``protocol.py`` parses the tools' output; ``exchange.py`` runs the interactive ones.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.core.errors import InfraError
from harness.core.layout import tool_command
from harness.core.records import Abi
from harness.guest.protocol import (
    RESULTS,
    Lines,
    Progress,
    ProtocolError,
    Start,
    ToolError,
)
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.machine.ssh import SSH
    from harness.monitor.waits import Watched

# Ports that can be open at once; port 0 is reserved in each ABI (xen/include/public/event_channel.h).
LIMITS = {Abi.L2: 4_095, Abi.FIFO: 131_071, Abi.L3: 524_287}
LIMITS_32 = {Abi.L2: 1_023, Abi.FIFO: 131_071, Abi.L3: 65_535}
_KERNEL_SAYS = {"2-level": Abi.L2, "FIFO-based": Abi.FIFO, "3-level": Abi.L3}

# At reference speed: milliseconds without an event after which those that are missing count as lost, and
# after which no more are expected.
PATIENCE_MS = 10_000
QUIET_MS = 300
# The tools that wait for events, and what they have to be told.
WAITS = {
    "evtchn-churn": {"--patience-ms": PATIENCE_MS},
    "evtchn-dev": {"--patience-ms": PATIENCE_MS, "--quiet-ms": QUIET_MS},
}
SILENCE = 300.0  # seconds without a line, at reference speed: closing 524,287 ports is one system call


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """Outcome of one tool run.

    Attributes:
        result: the result line; each tool has its own type (``RESULTS``).
        progress: the progress lines.
        seconds: wall-clock time, including SSH.
    """

    tool: str
    where: str
    start: Start
    result: Any
    progress: tuple[Progress, ...]
    seconds: float


def run_tool(
    ssh: SSH,
    tool: str,
    *args: str,
    timeout: float,
    stdin: bytes = b"",
    beside: Sequence[Watched] = (),
) -> ToolResult:
    """Run an in-guest tool to completion.

    Args:
        ssh: dom0 or a guest.
        tool: its name under ``images/tools``.
        timeout: seconds at reference speed. A tool that works for a given time prints its progress, so that
            only this deadline has to grow with that time, and not SILENCE.
        beside: guests whose loss ends the wait as well, for a tool in dom0 that works on them.

    Raises:
        ToolError: the tool reports an error or exits with a status other than 0.
        ProtocolError: its output does not follow the protocol.
        KeyError: there is no such tool.
        MachineLost: see harness/monitor/waits.py.
    """
    begin = time.monotonic()
    for option, ms in WAITS.get(tool, {}).items():
        if not any(arg.startswith(option) for arg in args):
            args = (*args, f"{option}={round(ms * ssh.watchdog.time_scale)}")
    with (
        ssh.stream(tool_command(tool, *args), timeout=timeout, silence=min(SILENCE, timeout)) as stream,
        stream.watching(*beside),
    ):
        if stdin:
            stream.stdin_write(stdin)
        stream.stdin_close()
        lines = Lines(iter(stream), tool=tool, where=ssh.name, result=RESULTS[tool])
        try:
            result = lines.expect(RESULTS[tool])
            lines.end()
        except ProtocolError as error:
            # If the tool could not be started, only stderr says why.
            for _ in stream:
                pass
            if stream.rc > 0:
                raise ToolError(_ending(stream), tool=tool, where=ssh.name) from error
            raise
        if stream.rc:
            raise ToolError(_ending(stream), tool=tool, where=ssh.name)
    assert lines.start is not None
    return ToolResult(
        tool=tool,
        where=ssh.name,
        start=lines.start,
        result=result,
        progress=tuple(lines.progress),
        seconds=time.monotonic() - begin,
    )


class _Ended(Protocol):
    @property
    def rc(self) -> int: ...
    @property
    def err(self) -> str: ...


def _ending(stream: _Ended) -> str:
    said = stream.err.strip()
    return f"ended with status {stream.rc}" + (f": {said[-300:]}" if said else "")


def abi_of(ssh: SSH) -> Abi:
    """The event channel ABI that a kernel uses, according to its log.

    Raises:
        InfraError: the log does not name one.
        MachineLost.
    """
    log = ssh.run("dmesg", timeout=30).out
    names = re.findall(r"xen:events: Using (\S+) ABI", log)
    if len(names) != 1 or names[0] not in _KERNEL_SAYS:
        raise InfraError(
            f"{ssh.name}'s kernel log names no known event channel ABI"
            + (f", only {names}" if names else ""),
            hint=f"Look for `xen:events: Using ... ABI` in the console of {ssh.name}.",
        )
    return _KERNEL_SAYS[names[0]]


def limit_of(kind: str, abi: str) -> int:
    """How many ports a guest of this kind can have open at once with this ABI."""
    return (LIMITS if KINDS[kind].wide else LIMITS_32)[Abi(abi)]

