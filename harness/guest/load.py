# SPDX-License-Identifier: GPL-2.0-or-later
"""Continuous event load during a test, by the two ends of ``evtchn-load``.

At most one event per port is in flight, so no two can merge, and the counts
of both ends must agree exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.deprecated import renamed
from harness.guest.exchange import Talk
from harness.guest.protocol import Bound, Going, LoadCounts, LoadResult, Ports

if TYPE_CHECKING:
    from harness.machine.ssh import SSH
    from harness.monitor.waits import Watched

PATIENCE_MS = 10_000  # without an answer, after which events in flight count as lost; at reference speed
# Seconds without an answer to a command, or progress towards it, which is a hang; at reference speed.
SILENCE = 120.0


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Combined counts of both ends, taken when no event is in flight.

    Attributes:
        sent, seen: events in both directions.
        lost: ports whose event or answer never arrived, or what the totals lack if that is more.
        duplicated: events seen more often than sent: unexpected ones, or the totals' excess if that is more.
        least, most: answers on the least and on the most served port.
        p50_us, p99_us, p999_us, max_us: latency from a ping to its answer.
    """

    ports: int
    sent: int
    seen: int
    lost: int
    duplicated: int
    seconds: float
    least: int
    most: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float

    doubled = renamed("doubled", "duplicated")

    @property
    def counts(self) -> dict[str, float]:
        """The counts that go into a row of the report."""
        names = ("sent", "seen", "lost", "duplicated", "seconds")
        return {name: getattr(self, name) for name in names}

    @property
    def exact(self) -> bool:
        """Whether events were sent, none was lost and none duplicated."""
        return (self.lost, self.duplicated) == (0, 0) and 0 < self.sent == self.seen


def tally(ping: LoadCounts, echo: LoadCounts) -> Tally:
    """Combine the counts of two ends; for a loopback both are the same object."""
    pings = echo.pings_seen - ping.pings_sent
    # Unexpected events were sent by the other end as well, so they count here.
    answers = ping.answers_seen + ping.unexpected - echo.answers_sent
    unexpected = ping.unexpected + (echo.unexpected if echo is not ping else 0)
    return Tally(
        ports=ping.ports,
        sent=ping.pings_sent + echo.answers_sent,
        seen=echo.pings_seen + ping.answers_seen,
        # Each stuck port accounts for one event; the totals may lack more.
        lost=max(ping.stuck, -min(pings, 0) - min(answers, 0)),
        duplicated=max(unexpected, max(pings, 0) + max(answers, 0)),
        seconds=ping.seconds,
        least=ping.least,
        most=ping.most,
        p50_us=ping.p50_ns / 1000,
        p99_us=ping.p99_ns / 1000,
        p999_us=ping.p999_ns / 1000,
        max_us=ping.max_ns / 1000,
    )


class _End(Talk):
    def __init__(self, ssh: SSH, mode: str, *args: str, seed: int, late: int, fault: str) -> None:
        super().__init__(
            ssh,
            "evtchn-load",
            mode,
            f"--seed={seed}",
            f"--late={late}",
            f"--break={fault}",
            *args,
            timeout=None,  # it flies for as long as the test wants
            silence=SILENCE,
            result=LoadResult,
            others=(Ports, Bound, Going, LoadCounts),
        )

    def ports(self) -> Ports:
        return self.hear(Ports)

    def say(self, text: str, kind: type[Any]) -> Any:
        return self.ask(text, kind)

    def pause(self) -> LoadCounts:
        counts: LoadCounts = self.ask(f"pause {self.ms(PATIENCE_MS)}", LoadCounts)
        return counts


class Load:
    """A load between two domains, or inside one. A context manager; it starts paused.

    Args:
        ping: the domain that sends pings and measures the latency.
        echo: the answering domain; None: loopback in the same domain.
        ping_domid, echo_domid: their domids; unused in a loopback.
        ports: number of ports, each with one event in flight.
        late: maximum number of rounds by which unmasking is delayed, drawn from the seed (0 to 15).
        fault: ``lose`` or ``double`` (loopback only): inject this fault once, to check that it is counted.

    Raises:
        as ``tools.run_tool``.
    """

    def __init__(
        self,
        ping: SSH,
        echo: SSH | None = None,
        *,
        ping_domid: int = 0,
        echo_domid: int = 0,
        ports: int,
        seed: int = 1,
        late: int = 0,
        fault: str = "none",
    ) -> None:
        self._stack = ExitStack()
        words: dict[str, Any] = {"seed": seed, "late": late, "fault": fault}
        try:
            if echo is None:
                self._ping = self._echo = self._enter(_End(ping, "self", f"--ports={ports}", **words))
                self._ping.ports()
                return
            self._ping = self._enter(
                _End(ping, "ping", f"--remote={echo_domid}", f"--ports={ports}", **words)
            )
            ranges = self._ping.ports().ranges
            self._echo = self._enter(_End(echo, "echo", f"--remote={ping_domid}", **words))
            self._echo.say("bind " + ",".join(f"{a}-{b}" for a, b in ranges), Bound)
        except BaseException:
            self._stack.close()
            raise

    def _enter(self, end: _End) -> _End:
        self._stack.push(end)
        return end

    def go(self) -> None:
        """Start or resume, with one event on each port."""
        self._ping.say("go", Going)

    def pause(self) -> Tally:
        """Wait until no event is in flight, and return the counts."""
        ping = self._ping.pause()
        echo = ping if self._echo is self._ping else self._echo.say("count", LoadCounts)
        return tally(ping, echo)

    def flood(self, seconds: float, *, beside: Sequence[Watched] = ()) -> None:
        """Make the echo end send unsolicited events on every port; the counts are meaningless afterwards.

        Args:
            seconds: of real time, not scaled.
            beside: guests whose loss ends the flood as well.
        """
        with self._echo.watching(*beside):
            self._echo.say(f"flood {round(seconds * 1000)}", LoadCounts)

    def close(self) -> None:
        """End both tools, which closes their ports."""
        self._stack.close()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
