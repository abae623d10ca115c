# SPDX-License-Identifier: GPL-2.0-or-later
"""Two lanes of a build: both results, or the first failure."""

from __future__ import annotations

import os
import threading
import time

import pytest

from harness.build.lanes import side_by_side
from harness.core import process
from harness.core.errors import UserError


def test_a_failing_lane_stops_the_other() -> None:
    started = threading.Event()

    def long() -> str:
        return process.run(["sh", "-c", "echo go; exec sleep 60"], what="x", on_line=lambda _: started.set())

    def failing() -> None:
        assert started.wait(10)
        raise UserError("the patch does not apply")

    begin = time.monotonic()
    with pytest.raises(UserError, match="does not apply"):
        side_by_side(long, failing)
    assert time.monotonic() - begin < 10


def test_lanes_give_both_results() -> None:
    assert side_by_side(lambda: os.getpid(), lambda: "b") == (os.getpid(), "b")
