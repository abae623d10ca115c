# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that end the program end it through its clean-up."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP came. Pytest ends a session cleanly for a KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_end_cleanly(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into ``Interrupted``.

    Further ones are kept out of the clean-up. What is ignored stays ignored:
    nohup means it.

    Args:
        say: told to a person who is impatient.

    Yields:
        The signal numbers that came, in order.
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
