# SPDX-License-Identifier: GPL-2.0-or-later
"""Combining the counts of both ends of a load: losses and duplicates each show by themselves."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from harness.guest.load import Tally, tally
from harness.guest.protocol import LoadCounts


def end(**words: int) -> LoadCounts:
    names = {f.name for f in msgspec.structs.fields(LoadCounts)}
    return LoadCounts(**{**dict.fromkeys(names, 0), "seconds": 1.0, "ports": 10, **words})


PING = end(pings_sent=100, answers_seen=100)
ECHO = end(pings_seen=100, answers_sent=100)


def test_two_ends_that_agree() -> None:
    t = tally(PING, ECHO)
    assert (t.sent, t.seen, t.lost, t.duplicated) == (200, 200, 0, 0)
    assert t.exact


def test_a_loopback_is_both_ends() -> None:
    both = end(pings_sent=50, pings_seen=50, answers_sent=50, answers_seen=50)
    assert (tally(both, both).sent, tally(both, both).exact) == (100, True)


def test_what_a_loopback_did_not_expect_counts_once() -> None:
    both = end(pings_sent=50, pings_seen=50, answers_sent=50, answers_seen=50, unexpected=1)
    assert (tally(both, both).lost, tally(both, both).duplicated) == (0, 1)


@pytest.mark.parametrize(
    ("ping", "echo", "lost", "duplicated"),
    [
        ({"stuck": 1, "answers_seen": 99}, {"pings_seen": 99, "answers_sent": 99}, 1, 0),  # a ping was lost
        ({"stuck": 1, "answers_seen": 99}, {}, 1, 0),  # an answer was lost
        ({"unexpected": 1}, {"answers_sent": 101, "pings_seen": 101}, 0, 1),  # a ping came twice
        ({"unexpected": 1}, {}, 0, 1),  # an answer came twice
        ({}, {"pings_seen": 101}, 0, 1),  # a ping that was never sent
        ({}, {"unexpected": 2}, 0, 2),
        # A loss and a duplicate must not cancel out.
        ({"stuck": 1, "answers_seen": 99, "unexpected": 1}, {}, 1, 1),
    ],
)
def test_what_does_not_agree(ping: dict[str, int], echo: dict[str, int], lost: int, duplicated: int) -> None:
    t = tally(msgspec.structs.replace(PING, **ping), msgspec.structs.replace(ECHO, **echo))
    assert (t.lost, t.duplicated) == (lost, duplicated)
    assert not t.exact


def test_nothing_sent_is_not_exact() -> None:
    nothing: Tally = replace(tally(PING, ECHO), sent=0, seen=0)
    assert not nothing.exact
