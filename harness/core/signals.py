# SPDX-License-Identifier: GPL-2.0-or-later
"""End the program cleanly on SIGINT, SIGTERM or SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP was received.

    It is a KeyboardInterrupt because pytest ends its session cleanly for one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_end_cleanly(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into ``Interrupted``.

    Later ones do not disturb the clean-up. A signal that was ignored stays
    ignored, as under nohup.

    Args:
        say: called with a message for the user at each further signal.

    Yields:
        The signal numbers received so far, in order.
    """
    came: list[int] = []

    def handler(number: int, frame: object) -> None:
        came.append(number)
        if len(came) == 1:
            raise Interrupted(number)
        say("still cleaning up; this takes a few seconds")

    before = {
        number: signal.signal(number, handler)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield came
    finally:
        for number, old in before.items():
            signal.signal(number, old)
