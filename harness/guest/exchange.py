# SPDX-License-Identifier: GPL-2.0-or-later
"""Interactive in-guest tools over SSH, and a counted exchange of events between two domains.

``Talk`` runs a tool that takes commands on stdin. ``Server`` (receiver) and
``Peer`` (sender) are the two ends of an exchange; ``exchange`` drives both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.layout import tool_command
from harness.guest.protocol import (
    Arrived,
    Bound,
    Closed,
    Drained,
    L,
    Line,
    Lines,
    PeerResult,
    Ports,
    Sent,
    ServeResult,
)
from harness.guest.tools import PATIENCE_MS, QUIET_MS, SILENCE

if TYPE_CHECKING:
    from harness.machine.ssh import SSH
    from harness.monitor.waits import Watched



# --- a conversation -----------------------------------------------------------------------------------------


class Talk:
    """A tool that takes commands on stdin. A context manager; leaving it ends the tool.

    Args:
        timeout: seconds at reference speed for the whole conversation; None if only the pauses in it are
            limited.
        silence: seconds at reference speed that an answer, or progress towards it, may take.
    """

    def __init__(
        self,
        ssh: SSH,
        tool: str,
        *args: str,
        timeout: float | None,
        result: type[Line],
        others: tuple[type[Line], ...],
        silence: float = SILENCE,
    ) -> None:
        if timeout is not None:
            silence = min(silence, timeout)
        self._stream = ssh.stream(tool_command(tool, *args), timeout=timeout, silence=silence)
        self._lines = Lines(iter(self._stream), tool=tool, where=ssh.name, result=result, others=others)
        self._time_scale = ssh.watchdog.time_scale

    def hear(self, kind: type[L]) -> L:
        """Read the tool's next line, which must be of this kind."""
        return self._lines.expect(kind)

    def ask(self, text: str, kind: type[L]) -> L:
        """Send a command and read the answer."""
        self._stream.stdin_write(f"{text}\n".encode())
        return self.hear(kind)

    def watching(self, *others: Watched) -> AbstractContextManager[None]:
        """Within the block, an answer is no longer awaited when one of these is lost."""
        return self._stream.watching(*others)

    def ms(self, ms: int) -> int:
        """Convert milliseconds at reference speed to milliseconds on this machine."""
        return round(ms * self._time_scale)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        # EOF on stdin ends a tool whose exchange was cut short.
        self._stream.close()


class Server(Talk):
    """The receiving end, ``evtchn-dev serve``: opens ports for another domain and counts the events.

    Args:
        remote: domid of the sender.
        count: ports to open; None: as many as Xen allows.
        timeout: for the whole exchange, seconds at reference speed.
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
        """Wait until the ports are open. Call this once, before anything else."""
        return self.hear(Ports)

    def drain(self) -> int:
        """Start counting. Returns the number of events that came before this, i.e. too early."""
        return self.ask("drain", Drained).early

    def wait(self, total: int) -> int:
        """Wait for `total` events, or until none has come for PATIENCE_MS. Returns how many came."""
        return self.ask(f"await {total} {self.ms(PATIENCE_MS)}", Arrived).total

    def count(self) -> ServeResult:
        """Wait until no event has come for QUIET_MS, then return the counts."""
        return self.ask(f"count {self.ms(QUIET_MS)}", ServeResult)

    def close(self) -> Closed:
        """Close the ports and wait until the kernel has freed their memory. The last command."""
        return self.ask("close", Closed)


class Peer(Talk):
    """The sending end, ``evtchn-peer`` in dom0.

    Args:
        remote: domid of the receiver.
        fault: ``lose``, ``double`` or ``early``: inject this fault once, to check that it is counted.
        timeout: for the whole exchange, seconds at reference speed.
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
        """Notify each port once, in a seeded order. Returns the total counts sent so far."""
        return self.ask("send", Sent)

    def resend(self) -> Sent:
        """With the fault ``double``: notify one port a second time."""
        return self.ask("resend", Sent)

    def close(self) -> PeerResult:
        """Close the ports. The last command."""
        return self.ask("close", PeerResult)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Results of one round between a receiver and a sender, each with its own counts.

    Attributes:
        ports, served, closed: from the receiver; closed is None unless requested.
        sent, peer: from the sender.
        seconds: time to open, send and receive, without closing.
    """

    ports: Ports
    served: ServeResult
    closed: Closed | None
    sent: Sent
    peer: PeerResult
    seconds: float

    @property
    def counts(self) -> dict[str, float]:
        """The counts that go into a row of the report."""
        return {
            "sent": self.sent.sent,
            "seen": self.served.seen,
            "lost": self.served.lost,
            "duplicated": self.served.duplicated,
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
        count: ports to open; None: as many as Xen allows the receiver.
        timeout: seconds at reference speed.
        fault: see Peer; for tests of the counting itself.
        close: also close the receiver's ports and wait until their memory is freed.
        when_open: called when all ports are open and before any is bound.

    Raises:
        as ``tools.run_tool``.
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

