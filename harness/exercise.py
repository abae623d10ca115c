# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the in-guest tools over SSH; what they say is read by toollines.py.

``run_tool`` is for a tool that runs by itself. ``Server`` and ``Peer`` are the
two halves of a conversation, between a domain that receives and one that
sends; ``exchange`` leads it.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import InfraError
from harness.model import KINDS, Abi
from harness.toollines import (
    RESULTS,
    Arrived,
    Bound,
    Closed,
    Drained,
    L,
    Line,
    Lines,
    PeerResult,
    Ports,
    Progress,
    Sent,
    ServeResult,
    Start,
    ToolError,
    ToolNonsense,
)

if TYPE_CHECKING:
    from harness.ssh import SSH

TOOLS_DIR = "/opt/evh/tools"
PATIENCE_MS = 10_000  # without an event, until the rest is called lost; at reference speed
QUIET_MS = 300  # without an event, until none is expected any more; at reference speed
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


def command(tool: str, *args: str) -> str:
    """The shell command that runs a tool."""
    return shlex.join([f"{TOOLS_DIR}/{tool}", *args])


def run_tool(ssh: SSH, tool: str, *args: str, timeout: float, stdin: bytes = b"") -> ToolResult:
    """Run an in-guest tool to its end.

    Args:
        ssh: dom0 or a guest.
        tool: its name under ``images/tools``.
        timeout: seconds at reference speed.
    Raises:
        ToolError: it reports an error or ends with another status than 0.
        ToolNonsense: it does not speak as it should.
        KeyError: there is no such tool.
        MachineLost: see waits.py.
    """
    begin = time.monotonic()
    with ssh.stream(command(tool, *args), timeout=timeout, silence=min(SILENCE, timeout)) as stream:
        if stdin:
            stream.stdin_write(stdin)
        stream.stdin_close()
        lines = Lines(iter(stream), tool=tool, where=ssh.name, result=RESULTS[tool])
        try:
            result = lines.expect(RESULTS[tool])
            lines.end()
        except ToolNonsense as error:
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


# --- a conversation -----------------------------------------------------------------------------------------


class Talk:
    """A tool that obeys lines on its stdin; a context manager, which ends it."""

    def __init__(
        self,
        ssh: SSH,
        tool: str,
        *args: str,
        timeout: float,
        result: type[Line],
        others: tuple[type[Line], ...],
        silence: float = SILENCE,
    ) -> None:
        self._stream = ssh.stream(command(tool, *args), timeout=timeout, silence=min(silence, timeout))
        self._lines = Lines(iter(self._stream), tool=tool, where=ssh.name, result=result, others=others)
        self._slowness = ssh.vigil.slowness

    def hear(self, kind: type[L]) -> L:
        """Its next line, which is of this kind."""
        return self._lines.expect(kind)

    def ask(self, text: str, kind: type[L]) -> L:
        """Give it a line, and hear its answer."""
        self._stream.stdin_write(f"{text}\n".encode())
        return self.hear(kind)

    def ms(self, ms: int) -> int:
        """Milliseconds at reference speed as this machine's."""
        return round(ms * self._slowness)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        # The end of its stdin ends a tool whose conversation broke off.
        self._stream.close()


class Server(Talk):
    """The receiving side, ``evtchn-dev serve``: opens ports for another domain, and counts what comes.

    Args:
        remote: domid of the sender.
        count: ports to open; None: as many as are given.
        timeout: of the whole conversation, seconds at reference speed.
    """

    def __init__(self, ssh: SSH, *, remote: int, count: int | None, timeout: float) -> None:
        super().__init__(
            ssh,
            "evtchn-dev",
            "serve",
            f"--remote={remote}",
            f"--count={count or 'max'}",
            timeout=timeout,
            result=ServeResult,
            others=(Ports, Drained, Arrived, Closed),
        )

    def ports(self) -> Ports:
        """Wait until they are open; once, and first."""
        return self.hear(Ports)

    def drain(self) -> int:
        """Start to count. Returns how many events came until now, too soon."""
        return self.ask("drain", Drained).early

    def wait(self, total: int) -> int:
        """Until so many events have come, or none for PATIENCE_MS. Returns how many have."""
        return self.ask(f"await {total} {self.ms(PATIENCE_MS)}", Arrived).total

    def count(self) -> ServeResult:
        """Wait until none comes any more, and count."""
        return self.ask(f"count {self.ms(QUIET_MS)}", ServeResult)

    def close(self) -> Closed:
        """Close the ports, and wait for the kernel to give their memory back; the last of all."""
        return self.ask("close", Closed)


class Peer(Talk):
    """The sending side, ``evtchn-peer`` in dom0.

    Args:
        remote: domid of the receiver.
        fault: ``lose``, ``double`` or ``early``: done wrong on purpose, once, to see it found.
        timeout: of the whole conversation, seconds at reference speed.
    """

    def __init__(self, ssh: SSH, *, remote: int, seed: int, timeout: float, fault: str = "none") -> None:
        super().__init__(
            ssh,
            "evtchn-peer",
            f"--remote={remote}",
            f"--seed={seed}",
            f"--break={fault}",
            timeout=timeout,
            result=PeerResult,
            others=(Bound, Sent),
        )

    def bind(self, ranges: list[tuple[int, int]]) -> Bound:
        """Bind to the receiver's ports."""
        return self.ask("bind " + ",".join(f"{first}-{last}" for first, last in ranges), Bound)

    def send(self) -> Sent:
        """Notify each once, in a seeded order. Returns the counts of all that was sent."""
        return self.ask("send", Sent)

    def resend(self) -> Sent:
        """With the fault ``double``: notify one once more."""
        return self.ask("resend", Sent)

    def close(self) -> PeerResult:
        """Close the ports; the last of all."""
        return self.ask("close", PeerResult)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One round between a receiver and a sender, each with its own counts.

    Attributes:
        ports, served, closed: of the receiver; closed where that was asked for.
        sent, peer: of the sender.
        seconds: opening, sending and receiving; not closing.
    """

    ports: Ports
    served: ServeResult
    closed: Closed | None
    sent: Sent
    peer: PeerResult
    seconds: float

    @property
    def counts(self) -> dict[str, float]:
        """What a row() of the report shows of it."""
        return {
            "sent": self.sent.sent,
            "seen": self.served.seen,
            "lost": self.served.lost,
            "doubled": self.served.doubled,
            "seconds": self.seconds,
        }


def exchange(
    receiver: SSH,
    sender: SSH,
    *,
    receiver_domid: int,
    sender_domid: int = 0,
    count: int | None,
    seed: int = 1,
    timeout: float,
    fault: str = "none",
    close: bool = False,
    when_open: Callable[[Ports], None] | None = None,
) -> Exchange:
    """Open ports in one domain, notify each once from another, and count on both sides.

    Args:
        count: ports; None: as many as the receiver is given.
        timeout: seconds at reference speed.
        fault: see Peer; for tests of the counting itself.
        close: wait for the receiver to close and settle, not only for the sender.
        when_open: called while all ports are open and none is bound.
    Raises: as run_tool.
    """
    begin = time.monotonic()
    with ExitStack() as stack:
        server: Server = stack.enter_context(
            Server(receiver, remote=sender_domid, count=count, timeout=timeout)
        )
        ports = server.ports()
        if when_open is not None:
            when_open(ports)
        peer: Peer = stack.enter_context(
            Peer(sender, remote=receiver_domid, seed=seed, timeout=timeout, fault=fault)
        )
        peer.bind(ports.ranges)
        server.drain()
        sent = peer.send()
        server.wait(sent.sent)
        if fault == "double":
            sent = peer.resend()
        served = server.count()
        seconds = time.monotonic() - begin
        ended = peer.close()
        closed = server.close() if close else None
    return Exchange(
        ports=ports,
        served=served,
        closed=closed,
        sent=sent,
        peer=ended,
        seconds=seconds,
    )
