# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the in-guest tools over SSH and read their JSON lines, strictly.

The tools (``images/tools``) print one object a line: a ``start``, a
``progress`` at most once a second, and a ``result``, or an ``error`` and exit
code 1. What is not exactly that is an exception that names the tool and the
line: a count out of a line that was half understood is worth nothing.

``run_tool`` is for a tool that runs by itself. ``Server`` and ``Peer`` are the
two halves of a conversation, between a domain that receives and one that
sends; ``exchange`` leads it.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from harness.errors import EvhError, InfraError
from harness.model import Abi

if TYPE_CHECKING:
    from harness.ssh import SSH

TOOLS_DIR = "/opt/evh/tools"
PATIENCE_MS = 10_000  # without an event, until the rest is called lost; at reference speed
QUIET_MS = 300  # without an event, until none is expected any more; at reference speed
# Ports that can be open at once; port 0 is reserved in each ABI (xen/include/public/event_channel.h).
LIMITS = {Abi.L2: 4_095, Abi.FIFO: 131_071, Abi.L3: 524_287}
_KERNEL_SAYS = {"2-level": Abi.L2, "FIFO-based": Abi.FIFO, "3-level": Abi.L3}

SILENCE = 300.0  # seconds without a line, at reference speed: closing 524,287 ports is one system call


class ToolError(EvhError):
    """An in-guest tool failed: Xen or the guest's kernel refused it something.

    Attributes:
        tool: its name.
        where: ``dom0`` or the guest it ran in.
        errno: what failed in it, e.g. ``ENOSPC``; empty where it did not say.
    """

    exit_code = 1

    def __init__(self, message: str, *, tool: str, where: str, errno: str = "", hint: str = "") -> None:
        console = f"See the last lines of {where}'s console and of Xen's in the run folder."
        super().__init__(
            f"{tool} in {where}: {message}",
            hint=f"{hint}; {console}" if hint else console,
        )
        self.tool = tool
        self.where = where
        self.errno = errno


class ToolNonsense(ToolError):
    """An in-guest tool said what it must not: the harness's own fault."""

    exit_code = 4


# --- lines --------------------------------------------------------------------------------------------------


class _Line(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="ev",
):
    pass


class Progress(_Line, tag="progress", frozen=True, kw_only=True):
    phase: str
    done: int
    total: int


class Error(_Line, tag="error", frozen=True, kw_only=True):
    what: str
    errno: str | None
    hint: str | None


class Start(_Line, tag="start", frozen=True, kw_only=True):
    tool: str
    seed: int | None = None
    domid: int | None = None


class Ports(_Line, tag="ports", frozen=True, kw_only=True):
    """What ``evtchn-dev serve`` opened. ``ranges`` are inclusive; ``open_ns`` is the mean of a port."""

    opened: int
    refused: str | None
    open_ns: int
    ranges: list[tuple[int, int]]


class Drained(_Line, tag="drained", frozen=True, kw_only=True):
    early: int


class Arrived(_Line, tag="arrived", frozen=True, kw_only=True):
    total: int


class Closed(_Line, tag="closed", frozen=True, kw_only=True):
    close_ns: int
    mem_free_closed_kib: int


class Bound(_Line, tag="bound", frozen=True, kw_only=True):
    bound: int
    bind_ns: int


class Sent(_Line, tag="sent", frozen=True, kw_only=True):
    sent: int
    send_failed: int


class RawResult(_Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-raw``.

    Times in ns: ``alloc_*`` the median of alloc_unbound in the first, the
    100,000th and the last batches, the others a mean per port.
    ``open_at_once`` is Xen's own count of the domain's open ports;
    ``xen_free_*`` are pages.
    """

    abi: str | None
    nr_channels: int
    opened: int
    system: int
    open_at_once: int
    refused: str | None
    sent: int
    send_failed: int
    seen: int
    lost: int
    doubled: int
    stray: int
    early: int
    drained: int
    bound: int
    still_open: int
    alloc_ns_first: int | None
    alloc_ns_middle: int | None
    alloc_ns_last: int | None
    open_ns: int
    send_ns: int
    close_ns: int
    xen_free_before: int
    xen_free_open: int
    xen_free_closed: int
    seconds: float


class DevResult(_Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-dev loopback``. Times in ns, a mean per port; ``xen_free_*`` in pages, in dom0 alone."""

    mode: str
    opened: int
    refused: str | None
    sent: int
    seen: int
    lost: int
    doubled: int
    unknown: int
    early: int
    drained: int
    bound: int
    open_ns: int
    send_ns: int
    close_ns: int
    mem_free_before_kib: int
    mem_free_open_kib: int
    mem_free_closed_kib: int
    xen_free_before: int | None
    xen_free_open: int | None
    seconds: float


class ServeResult(_Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-dev serve``."""

    mode: str
    opened: int
    refused: str | None
    seen: int
    lost: int
    doubled: int
    unknown: int
    early: int
    mem_free_before_kib: int
    mem_free_open_kib: int
    seconds: float


class PeerResult(_Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-peer``."""

    bound: int
    sent: int
    send_failed: int
    send_ns: int
    seconds: float


class StatusResult(_Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-status``: a domain's open ports, by Xen's word."""

    domid: int
    open: int
    highest: int
    unbound: int
    interdomain: int
    pirq: int
    virq: int
    ipi: int
    seconds: float


class FreeResult(_Line, tag="result", frozen=True, kw_only=True):
    """``xen-free``: pages of 4 KiB in Xen, KiB in Linux."""

    free_pages: int
    total_pages: int
    scrub_pages: int
    mem_free_kib: int
    mem_available_kib: int
    slab_kib: int


RESULTS: dict[str, type[_Line]] = {
    "evtchn-raw": RawResult,
    "evtchn-dev": DevResult,
    "evtchn-status": StatusResult,
    "xen-free": FreeResult,
}

_L = TypeVar("_L", bound=_Line)


class Lines:
    """What one tool says, line by line.

    Args:
        lines: its stdout.
        result: what its ``result`` line has to look like.
        others: what else it may say beside start, progress and error.
    """

    def __init__(
        self,
        lines: Iterator[str],
        *,
        tool: str,
        where: str,
        result: type[_Line],
        others: tuple[type[_Line], ...] = (),
    ) -> None:
        self.tool = tool
        self.where = where
        self.progress: list[Progress] = []
        self.start: Start | None = None
        self._lines = lines
        # msgspec wants the union at run time, out of a tuple.
        union: Any = Start | Progress | Error | result
        for other in others:
            union = union | other
        self._decoder = msgspec.json.Decoder(union)

    def next(self) -> _Line | None:
        """The next line that is not of progress; None at the end.

        Raises:
            ToolError: the tool reports an error.
            ToolNonsense: a line that is none of its lines.
        """
        for text in self._lines:
            line = self._decode(text)
            if self.start is None and not isinstance(line, Start | Error):
                raise self.nonsense(f"its first line is no start: {text!r:.200}")
            if isinstance(line, Progress):
                self.progress.append(line)
            elif isinstance(line, Error):
                name = f" ({line.errno})" if line.errno else ""
                raise ToolError(
                    f"{line.what}{name}",
                    tool=self.tool,
                    where=self.where,
                    errno=line.errno or "",
                    hint=line.hint or "",
                )
            elif isinstance(line, Start):
                if self.start is not None:
                    raise self.nonsense(f"it started twice: {text!r:.200}")
                if line.tool != self.tool:
                    raise self.nonsense(f"it is {line.tool!r:.50}")
                self.start = line
            else:
                return line
        return None

    def expect(self, kind: type[_L]) -> _L:
        """The next line that is not of progress, which is of this kind.

        Raises:
            ToolError, ToolNonsense: it is not, or there is none.
        """
        line = self.next()
        if line is None:
            raise self.nonsense(f"it ended without a line {kind.__struct_config__.tag!r}")
        if not isinstance(line, kind):
            raise self.nonsense(
                f"a line {kind.__struct_config__.tag!r} was due, not {msgspec.json.encode(line)[:200]!r}"
            )
        return line

    def end(self) -> None:
        """Make sure that nothing follows.

        Raises:
            ToolError, ToolNonsense: something does.
        """
        if (line := self.next()) is not None:
            raise self.nonsense(f"it went on after its result: {msgspec.json.encode(line)[:200]!r}")

    def nonsense(self, text: str) -> ToolNonsense:
        return ToolNonsense(
            text,
            tool=self.tool,
            where=self.where,
            hint="Tool and harness are of two builds, or its output is mixed up",
        )

    def _decode(self, text: str) -> _Line:
        try:
            line = self._decoder.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise self.nonsense(f"cannot read its line {text!r:.200}: {error}") from error
        assert isinstance(line, _Line)
        return line


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


# --- a conversation -----------------------------------------------------------------------------------------


class _Talk:
    """A tool that obeys lines on its stdin; a context manager, which ends it."""

    def __init__(
        self,
        ssh: SSH,
        tool: str,
        *args: str,
        timeout: float,
        result: type[_Line],
        others: tuple[type[_Line], ...],
    ) -> None:
        self._stream = ssh.stream(command(tool, *args), timeout=timeout, silence=min(SILENCE, timeout))
        self._lines = Lines(iter(self._stream), tool=tool, where=ssh.name, result=result, others=others)
        self._slowness = ssh.vigil.slowness

    def _say(self, text: str) -> None:
        self._stream.stdin_write(f"{text}\n".encode())

    def _ask(self, text: str, kind: type[_L]) -> _L:
        self._say(text)
        return self._lines.expect(kind)

    def _ms(self, ms: int) -> int:
        return round(ms * self._slowness)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        # The end of its stdin ends a tool whose conversation broke off.
        self._stream.close()


class Server(_Talk):
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
        return self._lines.expect(Ports)

    def drain(self) -> int:
        """Start to count. Returns how many events came until now, too soon."""
        return self._ask("drain", Drained).early

    def wait(self, total: int) -> int:
        """Until so many events have come, or none for PATIENCE_MS. Returns how many have."""
        return self._ask(f"await {total} {self._ms(PATIENCE_MS)}", Arrived).total

    def count(self) -> ServeResult:
        """Wait until none comes any more, and count."""
        return self._ask(f"count {self._ms(QUIET_MS)}", ServeResult)

    def close(self) -> Closed:
        """Close the ports, and wait for the kernel to give their memory back; the last of all."""
        return self._ask("close", Closed)


class Peer(_Talk):
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
        return self._ask("bind " + ",".join(f"{first}-{last}" for first, last in ranges), Bound)

    def send(self) -> Sent:
        """Notify each once, in a seeded order. Returns the counts of all that was sent."""
        return self._ask("send", Sent)

    def resend(self) -> Sent:
        """With the fault ``double``: notify one once more."""
        return self._ask("resend", Sent)

    def close(self) -> PeerResult:
        """Close the ports; the last of all."""
        return self._ask("close", PeerResult)


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
