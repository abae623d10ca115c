# SPDX-License-Identifier: GPL-2.0-or-later
"""From bases to everything that a machine needs to boot, out of the store.

Two lanes side by side. One compiles, one kernel at a time; the other waits
for networks and disks (download, unpack, mmdebstrap). The images come last,
they hold the kernel. What is in the store already is not made again.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from harness.core import process

A = TypeVar("A")
B = TypeVar("B")


def side_by_side(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Run two functions at once; when one fails, the programs of the other are stopped.

    Raises:
        what the one that failed raised (never the other's :class:`process.Cancelled`).
    """
    with process.children() as running, ThreadPoolExecutor(2, "build") as pool:
        one: Future[A] = pool.submit(contextvars.copy_context().run, first)
        two: Future[B] = pool.submit(contextvars.copy_context().run, second)
        try:
            both: list[Future[Any]] = [one, two]
            wait(both, return_when=FIRST_EXCEPTION)
        finally:
            # After a success nothing runs any more; after Ctrl-C or a failure
            # the pool would wait for what is of no use.
            if not (one.done() and two.done()):
                running.stop()
        failures = [error for lane in (one, two) if (error := lane.exception()) is not None]
        for error in sorted(failures, key=lambda e: isinstance(e, process.Cancelled)):
            raise error
        return one.result(), two.result()

