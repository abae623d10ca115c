# SPDX-License-Identifier: GPL-2.0-or-later
"""A follower that cannot go on says so; one that is told to stop does not."""

import queue
from types import SimpleNamespace

import pytest

from harness.core.errors import InfraError
from harness.guest.follower import Follower
from harness.monitor.waits import MachineDied, Watchdog


class FakeStream:
    """What `tail -F` in dom0 prints; an exception in the queue breaks the connection."""

    def __init__(self) -> None:
        self.queue: queue.Queue[bytes | Exception] = queue.Queue()

    def readline(self) -> str:
        return "77"

    def read(self) -> bytes:
        got = self.queue.get()
        if isinstance(got, Exception):
            raise got
        return got

    def close(self) -> None:
        self.queue.put(b"")


class Following:
    def __init__(self) -> None:
        self.stream, self.watchdog = FakeStream(), Watchdog()
        self.heard, self.failures, self.ends = b"", [], 0
        machine = SimpleNamespace(
            watchdog=self.watchdog, dom0=SimpleNamespace(stream=lambda command, timeout: self.stream)
        )
        self.follower = Follower(machine, "/log", self.hear, self.end, self.failures.append)  # type: ignore[arg-type]

    def hear(self, data: bytes) -> None:
        self.heard += data

    def end(self) -> None:
        self.ends += 1


@pytest.mark.parametrize(
    ("last", "why"),
    [(b"", "has ended"), (InfraError("the link broke"), "broke"), (OSError(28, "No space"), "No space")],
)
def test_one_that_cannot_go_on_says_why(last: bytes | Exception, why: str) -> None:
    one = Following()
    one.stream.queue.put(b"text")
    one.stream.queue.put(last)
    one.follower._thread.join(10)
    assert one.heard == b"text"
    assert len(one.failures) == 1 and why in one.failures[0]


def test_one_that_is_stopped_has_not_failed() -> None:
    one = Following()
    one.follower.stop(drain=False)
    assert (one.failures, one.ends) == ([], 1)


def test_the_loss_of_the_machine_is_no_failure_of_its_own() -> None:
    one = Following()
    one.watchdog.lose(lambda: MachineDied("QEMU ended"))
    one.stream.queue.put(MachineDied("QEMU ended"))
    one.follower._thread.join(10)
    assert one.failures == []
