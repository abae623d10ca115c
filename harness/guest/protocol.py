# SPDX-License-Identifier: GPL-2.0-or-later
"""The tool protocol: JSON lines that the in-guest tools print, parsed strictly.

The tools (``images/tools``) print one object per line: a ``start``, a
``progress`` at most once a second, and a ``result``; or an ``error`` and exit
code 1. Anything else raises an exception that names the tool and the line,
because counts from a partly understood line cannot be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from harness.core.deprecated import renamed
from harness.core.errors import EvhError


class ToolError(EvhError):
    """An in-guest tool failed, because Xen or the guest's kernel refused a request.

    Attributes:
        tool: the tool's name.
        where: ``dom0`` or the guest that the tool ran in.
        errno: symbolic error, e.g. ``ENOSPC``; empty if the tool gave none.
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


class ProtocolError(ToolError):
    """An in-guest tool violated the protocol, which is a fault of the harness."""

    exit_code = 4


class Line(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="ev",
):
    """Base of all lines; the field ``ev`` gives the kind."""


class Progress(Line, tag="progress", frozen=True, kw_only=True):
    phase: str
    done: int
    total: int


class Error(Line, tag="error", frozen=True, kw_only=True):
    what: str
    errno: str | None
    hint: str | None


class Start(Line, tag="start", frozen=True, kw_only=True):
    tool: str
    seed: int | None = None
    domid: int | None = None


class Ports(Line, tag="ports", frozen=True, kw_only=True):
    """Ports opened by ``evtchn-dev serve``. ``ranges`` are inclusive; ``open_ns`` is the mean per port."""

    opened: int
    refused: str | None
    open_ns: int
    ranges: list[tuple[int, int]]


class Drained(Line, tag="drained", frozen=True, kw_only=True):
    early: int


class Arrived(Line, tag="arrived", frozen=True, kw_only=True):
    total: int


class Closed(Line, tag="closed", frozen=True, kw_only=True):
    close_ns: int
    mem_free_closed_kib: int


class Bound(Line, tag="bound", frozen=True, kw_only=True):
    bound: int
    bind_ns: int


class Sent(Line, tag="sent", frozen=True, kw_only=True):
    sent: int
    send_failed: int


def _counts(result: RawResult | DevResult) -> dict[str, float]:
    names = ("sent", "seen", "lost", "duplicated", "seconds")
    return {name: getattr(result, name) for name in names}


class RawResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-raw``.

    Times are in ns: ``alloc_*`` is the median of alloc_unbound in the first,
    the 100,000th and the last batch; the others are a mean per port.
    ``open_at_once`` is Xen's own count of the domain's open ports;
    ``xen_free_*`` are in pages.
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
    duplicated: int
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

    doubled = renamed("doubled", "duplicated")

    @property
    def counts(self) -> dict[str, float]:
        """What a row() of the report shows of it."""
        return _counts(self)


class DevResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-dev loopback``. Times are in ns, mean per port; ``xen_free_*`` in pages, only in dom0."""

    mode: str
    opened: int
    refused: str | None
    sent: int
    seen: int
    lost: int
    duplicated: int
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

    doubled = renamed("doubled", "duplicated")

    @property
    def counts(self) -> dict[str, float]:
        """What a row() of the report shows of it."""
        return _counts(self)


class ServeResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-dev serve``."""

    mode: str
    opened: int
    refused: str | None
    seen: int
    lost: int
    duplicated: int
    unknown: int
    early: int
    mem_free_before_kib: int
    mem_free_open_kib: int
    seconds: float

    doubled = renamed("doubled", "duplicated")


class PeerResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-peer``."""

    bound: int
    sent: int
    send_failed: int
    send_ns: int
    seconds: float


class StatusResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-status``: a domain's open ports as Xen reports them."""

    domid: int
    open: int
    highest: int
    unbound: int
    interdomain: int
    pirq: int
    virq: int
    ipi: int
    seconds: float


class FreeResult(Line, tag="result", frozen=True, kw_only=True):
    """``xen-free``: pages of 4 KiB in Xen, KiB in Linux."""

    free_pages: int
    total_pages: int
    scrub_pages: int
    mem_free_kib: int
    mem_available_kib: int
    slab_kib: int


class Going(Line, tag="going", frozen=True, kw_only=True):
    """``evtchn-load`` has sent an event on every port."""


class LoadCounts(Line, tag="counts", frozen=True, kw_only=True):
    """Counts of one end of ``evtchn-load``, which does not know the other end's counts.

    ``stuck``: ports whose answer has not come. Latencies are from a ping to its answer.
    """

    ports: int
    pings_sent: int
    pings_seen: int
    answers_sent: int
    answers_seen: int
    stuck: int
    unexpected: int
    least: int
    most: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    seconds: float


class LoadResult(LoadCounts, tag="result", frozen=True, kw_only=True):
    """Final counts of one end of ``evtchn-load``."""


class ChurnResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-churn``; ``dropped`` events were in flight when their port was closed."""

    opened: int
    closed: int
    sent: int
    seen: int
    lost: int
    duplicated: int
    dropped: int
    seconds: float

    doubled = renamed("doubled", "duplicated")


class SpuriousResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-spurious``; ``sent`` is the total number of notifications to ``ports`` ports."""

    ports: int
    sent: int
    seconds: float


class StaleHeld(Line, tag="held", frozen=True, kw_only=True):
    """``evtchn-stale``, when it waits for the domain to be another one; ``highest`` is a port's number."""

    ports: int
    highest: int


class StaleResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-stale``: of ``pairs`` that another file has bound anew, ``same`` have numbers of old ports.

    ``unbound``: old ports with these numbers that were unbound. ``notified``: that could be notified.
    ``same_again``: ports of the first file's new pairs with such numbers. ``stray`` and ``lost``: events
    of the new pairs, after what was done to the old ones. ``unbind_highest``: errno; None: unbound.
    """

    pairs: int
    same: int
    same_again: int
    unbound: int
    notified: int
    stray: int
    lost: int
    unbind_highest: str | None


class GntdevFaultResult(Line, tag="result", frozen=True, kw_only=True):
    """``gntdev-fault``: the error of a map that could not be told, and the indexes before and after it."""

    error: str | None
    first: int
    next: int


class WakeupsResult(Line, tag="result", frozen=True, kw_only=True):
    """``evtchn-wakeups``; ``slept`` counts how often the reader slept, ``missed`` its missed wake-ups."""

    sent: int
    seen: int
    unexpected: int
    slept: int
    missed: int
    seconds: float


class KexecResult(Line, tag="result", frozen=True, kw_only=True):
    """``kexec-self``: sizes of what it loaded."""

    kernel_bytes: int
    initrd_bytes: int


class SoftResetResult(Line, tag="result", frozen=True, kw_only=True):
    """``soft-reset``: the domain's new ports to dom0."""

    store_port: int
    console_port: int


RESULTS: dict[str, type[Line]] = {
    "evtchn-churn": ChurnResult,
    "evtchn-raw": RawResult,
    "evtchn-dev": DevResult,
    "evtchn-spurious": SpuriousResult,
    "evtchn-stale": StaleResult,
    "evtchn-status": StatusResult,
    "evtchn-wakeups": WakeupsResult,
    "gntdev-fault": GntdevFaultResult,
    "kexec-self": KexecResult,
    "soft-reset": SoftResetResult,
    "xen-free": FreeResult,
}

L = TypeVar("L", bound=Line)


class Lines:
    """Parses one tool's output, line by line.

    Args:
        lines: the tool's stdout.
        tool: its expected name.
        where: domain that it runs in, for messages.
        result: expected type of the ``result`` line.
        others: types allowed in addition to start, progress, error and result.
    """

    def __init__(
        self,
        lines: Iterator[str],
        *,
        tool: str,
        where: str,
        result: type[Line],
        others: tuple[type[Line], ...] = (),
    ) -> None:
        self.tool = tool
        self.where = where
        self.progress: list[Progress] = []
        self.start: Start | None = None
        self._lines = lines
        # msgspec needs a union object at run time; build it from the tuple.
        union: Any = Start | Progress | Error | result
        for other in others:
            union = union | other
        self._decoder = msgspec.json.Decoder(union)

    def next(self) -> Line | None:
        """The next line other than start and progress; None at the end.

        Raises:
            ToolError: the tool reports an error.
            ProtocolError: a line does not follow the protocol.
        """
        for text in self._lines:
            line = self._decode(text)
            if self.start is None and not isinstance(line, Start | Error):
                raise self.protocol_error(f"its first line is not a start line: {text!r:.200}")
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
                    raise self.protocol_error(f"it sent a second start line: {text!r:.200}")
                if line.tool != self.tool:
                    raise self.protocol_error(f"its start line names another tool: {line.tool!r:.50}")
                self.start = line
            else:
                return line
        return None

    def expect(self, kind: type[L]) -> L:
        """Like ``next``, but the line must be of this kind.

        Raises:
            ToolError: the tool reports an error.
            ProtocolError: the line is of another kind, or the output ended.
        """
        line = self.next()
        if line is None:
            raise self.protocol_error(f"it ended without a line {kind.__struct_config__.tag!r}")
        if not isinstance(line, kind):
            raise self.protocol_error(
                f"expected a line {kind.__struct_config__.tag!r}, got {msgspec.json.encode(line)[:200]!r}"
            )
        return line

    def end(self) -> None:
        """Check that no line follows.

        Raises:
            ToolError, ProtocolError: a line follows.
        """
        if (line := self.next()) is not None:
            raise self.protocol_error(f"it sent a line after its result: {msgspec.json.encode(line)[:200]!r}")

    def protocol_error(self, text: str) -> ProtocolError:
        return ProtocolError(
            text,
            tool=self.tool,
            where=self.where,
            hint="Tool and harness are from different builds, or other output got mixed in",
        )

    def _decode(self, text: str) -> Line:
        try:
            line = self._decoder.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise self.protocol_error(f"cannot parse its line {text!r:.200}: {error}") from error
        assert isinstance(line, Line)
        return line
