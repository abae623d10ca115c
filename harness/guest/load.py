# SPDX-License-Identifier: GPL-2.0-or-later
"""Events that keep flying while something happens: the two ends of ``evtchn-load``.

One event is under way for each port, so none may merge, and what the two ends
count has to agree to the last one.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.deprecated import renamed
from harness.guest.exchange import Talk
from harness.guest.protocol import Bound, Going, LoadCounts, LoadResult, Ports

if TYPE_CHECKING:
    from harness.machine.ssh import SSH

PATIENCE_MS = 10_000  # without an answer, until what is under way is called lost; at reference speed
SILENCE = 120.0  # seconds without an answer to a command, until it hangs; at reference speed
HOURS = 3 * 3600.0  # of the whole play


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What both ends counted, up to a moment when nothing was under way.

    Attributes:
        sent, seen: events, in both directions.
        lost: ports whose event or its answer never came, and what the totals lack beyond them.
        duplicated: events that nobody waited for, and what the totals have too many.
        least, most: answers of the least and of the most served port.
        p50_us, p99_us, p999_us, max_us: from a ping to its answer.
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
        """What a row() of the report shows of it."""
        names = ("sent", "seen", "lost", "duplicated", "seconds")
        return {name: getattr(self, name) for name in names}

    @property
    def exact(self) -> bool:
        """Nothing lost, nothing duplicated, and something was there to lose."""
        return (self.lost, self.duplicated) == (0, 0) and 0 < self.sent == self.seen


def tally(ping: LoadCounts, echo: LoadCounts) -> Tally:
    """Put the counts of two ends together; for a loopback they are of one tool."""
    pings = echo.pings_seen - ping.pings_sent
    # What nobody waited for was sent by the other end too.
    answers = ping.answers_seen + ping.unexpected - echo.answers_sent
    unexpected = ping.unexpected + (echo.unexpected if echo is not ping else 0)
    return Tally(
        ports=ping.ports,
        sent=ping.pings_sent + echo.answers_sent,
        seen=echo.pings_seen + ping.answers_seen,
        # A port is stuck by one event; a total may lack more than that.
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
            timeout=HOURS,
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
    """A load between two domains, or inside one. A context manager; it begins stopped.

    Args:
        ping: where the pings start, and the latency is taken.
        echo: the answering end; None: the same domain, by a loopback.
        ping_domid, echo_domid: Xen's numbers of them; of no use in a loopback.
        ports: how many, each with one event under way.
        late: enable events again up to so many rounds late, drawn from the seed (0 to 15).
        fault: ``lose`` or ``double`` (in a loopback): done wrong on purpose, once, to see it found.
    Raises: as exercise.run_tool.
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
        """Start, or go on; one event on each port."""
        self._ping.say("go", Going)

    def pause(self) -> Tally:
        """Stop when all that is under way has come home, and count."""
        ping = self._ping.pause()
        echo = ping if self._echo is self._ping else self._echo.say("count", LoadCounts)
        return tally(ping, echo)

    def flood(self, seconds: float) -> None:
        """Have the echo end send on every port without being asked; what is counted is of no use then."""
        self._echo.say(f"flood {round(seconds * 1000)}", LoadCounts)

    def close(self) -> None:
        """End both tools; their ports are closed with them."""
        self._stack.close()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
