# SPDX-License-Identifier: GPL-2.0-or-later
"""Run two functions in parallel threads, and stop the programs of one when the other fails."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from harness.core import process

A = TypeVar("A")
B = TypeVar("B")


def side_by_side(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Run two functions in parallel; when one fails, the programs of the other are stopped.

    Raises:
        The exception of the function that failed, not the resulting :class:`process.Cancelled`
        of the other one.
    """
    with process.children() as running, ThreadPoolExecutor(2, "build") as pool:
        one: Future[A] = pool.submit(contextvars.copy_context().run, first)
        two: Future[B] = pool.submit(contextvars.copy_context().run, second)
        try:
            both: list[Future[Any]] = [one, two]
            wait(both, return_when=FIRST_EXCEPTION)
        finally:
            # On success both have finished. After Ctrl-C or a failure, leaving the
            # pool would wait for programs whose result is no longer needed.
            if not (one.done() and two.done()):
                running.stop()
        failures = [error for lane in (one, two) if (error := lane.exception()) is not None]
        for error in sorted(failures, key=lambda e: isinstance(e, process.Cancelled)):
            raise error
        return one.result(), two.result()

