# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the in-guest tools over SSH; what they say is read by toollines.py.

``run_tool`` is for a tool that runs by itself. ``Server`` and ``Peer`` are the
two halves of a conversation, between a domain that receives and one that
sends; ``exchange`` leads it.
"""

from __future__ import annotations

import re
import time
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

# Ports that can be open at once; port 0 is reserved in each ABI (xen/include/public/event_channel.h).
LIMITS = {Abi.L2: 4_095, Abi.FIFO: 131_071, Abi.L3: 524_287}
LIMITS_32 = {Abi.L2: 1_023, Abi.FIFO: 131_071, Abi.L3: 65_535}
_KERNEL_SAYS = {"2-level": Abi.L2, "FIFO-based": Abi.FIFO, "3-level": Abi.L3}

SILENCE = 300.0  # seconds without a line, at reference speed: closing 524,287 ports is one system call


# --- a tool by itself ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """How a tool ran.

    Attributes:
        result: its result line; a subclass for each tool (``RESULTS``).
        progress: what it said on the way.
        seconds: wall-clock time, SSH included.
    """

    tool: str
    where: str
    start: Start
    result: Any
    progress: tuple[Progress, ...]
    seconds: float


def run_tool(ssh: SSH, tool: str, *args: str, timeout: float, stdin: bytes = b"") -> ToolResult:
    """Run an in-guest tool to its end.

    Args:
        ssh: dom0 or a guest.
        tool: its name under ``images/tools``.
        timeout: seconds at reference speed.
    Raises:
        ToolError: it reports an error or ends with another status than 0.
        ProtocolError: it does not speak as it should.
        KeyError: there is no such tool.
        MachineLost: see waits.py.
    """
    begin = time.monotonic()
    with ssh.stream(tool_command(tool, *args), timeout=timeout, silence=min(SILENCE, timeout)) as stream:
        if stdin:
            stream.stdin_write(stdin)
        stream.stdin_close()
        lines = Lines(iter(stream), tool=tool, where=ssh.name, result=RESULTS[tool])
        try:
            result = lines.expect(RESULTS[tool])
            lines.end()
        except ProtocolError as error:
            # A tool that could not even be started says why on stderr alone.
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
    """The ABI that a kernel uses, by its own log.

    Raises:
        InfraError: it does not say.
        MachineLost.
    """
    log = ssh.run("dmesg", timeout=30).out
    names = re.findall(r"xen:events: Using (\S+) ABI", log)
    if len(names) != 1 or names[0] not in _KERNEL_SAYS:
        raise InfraError(
            f"{ssh.name}'s kernel log tells no event channel ABI" + (f" but {names}" if names else ""),
            hint=f"Look for `xen:events: Using ... ABI` in the console of {ssh.name}.",
        )
    return _KERNEL_SAYS[names[0]]


def limit_of(kind: str, abi: str) -> int:
    """How many ports a guest of this kind can have open at once by this ABI."""
    return (LIMITS if KINDS[kind].wide else LIMITS_32)[Abi(abi)]

