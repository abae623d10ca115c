# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the in-guest tools over SSH; what they say is read by toollines.py.

``run_tool`` is for a tool that runs by itself. ``Server`` and ``Peer`` are the
two halves of a conversation, between a domain that receives and one that
sends; ``exchange`` leads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
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
from harness.guest.tools import SILENCE

if TYPE_CHECKING:
    from harness.machine.ssh import SSH
PATIENCE_MS = 10_000  # without an event, until the rest is called lost; at reference speed
QUIET_MS = 300  # without an event, until none is expected any more; at reference speed


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
        self._stream = ssh.stream(tool_command(tool, *args), timeout=timeout, silence=min(silence, timeout))
        self._lines = Lines(iter(self._stream), tool=tool, where=ssh.name, result=result, others=others)
        self._time_scale = ssh.watchdog.time_scale

    def hear(self, kind: type[L]) -> L:
        """Its next line, which is of this kind."""
        return self._lines.expect(kind)

    def ask(self, text: str, kind: type[L]) -> L:
        """Give it a line, and hear its answer."""
        self._stream.stdin_write(f"{text}\n".encode())
        return self.hear(kind)

    def ms(self, ms: int) -> int:
        """Milliseconds at reference speed as this machine's."""
        return round(ms * self._time_scale)

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

