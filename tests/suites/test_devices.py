# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's devices for event channels and grants: what becomes of their files when something goes wrong."""

from __future__ import annotations

import pytest

from harness.core.records import LINUX_EVENTS, Abi
from harness.guest import debugfs, lifecycle
from harness.guest.protocol import Lines, StaleHeld, StaleResult

pytestmark = pytest.mark.machine(abi="3l", memory_mib=3072, dom0_mib=1024)
GUESTS = pytest.mark.parametrize("guest", ["pv64", "pvh64"])

FILE = "/var/tmp/guest.save"
PAIRS = 40
# So many that the highest port is beyond what the domain may have afterwards, and half of them are not.
MANY_PAIRS = 600
FEW_CHANNELS = 1_000


def stale_file(g, pairs, move):
    """Open ports in a file, move the guest into another domain, and use the file there.

    Args:
        move: does the latter.

    Returns:
        The highest port there was, and the tool's result.
    """
    # Detached, since SSH's connections do not survive.
    g.ssh.run(
        "mkfifo /tmp/go && (/opt/evh/tools/evtchn-stale "
        f"--pairs {pairs} --wait /tmp/go </dev/null >/tmp/stale 2>&1 &) && "
        + lifecycle.polling(g.ssh, "grep -q -e held -e error /tmp/stale", seconds=60, every=0.2),
        timeout=120,
    )
    move()
    done = lifecycle.polling(g.ssh, "grep -q -e result -e error /tmp/stale", seconds=120, every=0.5)
    g.ssh.run(f"grep -q error /tmp/stale || : > /tmp/go; {done}", timeout=200)
    text = g.ssh.run("cat /tmp/stale", timeout=30).out.splitlines()
    lines = Lines(iter(text), tool="evtchn-stale", where=g.layer, result=StaleResult, others=(StaleHeld,))
    return lines.expect(StaleHeld).highest, lines.expect(StaleResult)


def works_in_spite_of_old_ports(r, pairs):
    """Check that ports from before have affected none of those bound afterwards."""
    assert r.pairs == pairs // 4 and 0 < r.same <= r.pairs
    assert r.unbound == 2 * r.same
    assert r.same_again == 2 * r.pairs
    assert (r.notified, r.stray, r.lost) == (0, 0, 0)
    assert r.unbind_highest is None


@pytest.mark.parametrize("abi", ["3l", "fifo", "2l"])
@GUESTS
def test_file_from_before_a_restore(dom0, start_guest, guest, abi):
    """Old ports of a file can be enabled, notified, unbound and replaced without touching another file's."""
    g = start_guest(name="stale", kind=guest, abi=abi, memory_mib=192, max_event_channels=4_000)

    def move():
        lifecycle.save(g, FILE)
        lifecycle.restore(g, FILE)

    _, result = stale_file(g, PAIRS, move)
    works_in_spite_of_old_ports(result, PAIRS)


@GUESTS
@pytest.mark.asks(LINUX_EVENTS)
def test_old_port_beyond_the_last_one(dom0, start_guest, guest):
    """A port can be unbound although the domain has fewer since it was restored."""
    g = start_guest(name="fewer", kind=guest, memory_mib=192, max_event_channels=4_000)
    assert debugfs.read(g.ssh).usable == 4_001

    def move():
        lifecycle.save(g, FILE)
        lifecycle.restore(g, FILE, max_event_channels=FEW_CHANNELS)

    highest, result = stale_file(g, MANY_PAIRS, move)
    view = debugfs.read(g.ssh)
    assert (view.abi, view.usable) == (Abi.L3, FEW_CHANNELS + 1)
    assert highest > FEW_CHANNELS
    # A quarter of the pairs, twice, must fit below the limit.
    works_in_spite_of_old_ports(result, MANY_PAIRS)


@pytest.mark.parametrize("guest", ["dom0", "pv64", "pvh64"])
def test_map_that_cannot_be_told(dom0, start_guest, tool, guest):
    """gntdev takes a map back if it cannot write its index to the caller."""
    where = dom0 if guest == "dom0" else start_guest(name="map", kind=guest)
    r = tool(where, "gntdev-fault").result
    assert (r.error, r.first, r.next) == ("EFAULT", 0, 1)
