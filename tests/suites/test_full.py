# SPDX-License-Identifier: GPL-2.0-or-later
"""Every port of a 64-bit guest, through real IRQs. The guest needs some 2.5 GiB (1 GiB if its IRQs have no
files); without KVM a test takes minutes.

dom0 has the same number of ports but uses some itself, so it cannot be the
peer of all of a guest's ports: the last thousand are a loopback inside the guest.
"""

from __future__ import annotations

import time

import pytest

from harness.core.records import Abi
from harness.guest import lifecycle
from harness.guest.exchange import exchange
from harness.guest.tools import LIMITS, abi_of

PAGE = 4096
LIMIT = LIMITS[Abi.L3]
LOOPBACK = 1_000
KILLED = 500_000
CLOSING = 900  # seconds at reference speed, to close them

pytestmark = pytest.mark.machine(abi="3l", memory_mib=4608, dom0_mib=1024)


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize("files", [True, False], ids=["files", "no files"])
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_guest_all_ports(dom0, start_guest, tool, row, metric, guest, files):
    """With and without the files of the IRQs in /proc and sysfs (xen_evtchn.irq_files)."""
    g = start_guest(name="full", kind=guest, memory_mib=2816 if files else 1024, max_event_channels=LIMIT)
    assert abi_of(g.ssh) == "3l"
    g.ssh.run(f"echo {files:d} > /sys/module/xen_evtchn/parameters/irq_files", timeout=30)
    own = tool(dom0, "evtchn-status", "--domid", g.domid).result.open
    xen_before = tool(dom0, "xen-free").result.free_pages
    count = LIMIT - own - LOOPBACK
    found = {}

    def when_open(ports):
        found["xen"] = tool(dom0, "xen-free").result.free_pages
        found["status"] = tool(dom0, "evtchn-status", "--domid", g.domid).result
        # Open the remaining ports while the others are open.
        found["rest"] = tool(g, "evtchn-dev", "loopback", "--count", "max").result

    x = exchange(
        g.ssh, dom0, receiver_domid=g.domid, count=count, timeout=1_800, when_open=when_open, close=True
    )
    metric("ns to open a port", x.ports.open_ns)
    metric("ns to close one", x.closed.close_ns)
    s, rest, status = x.served, found["rest"], found["status"]
    row(
        abi="3l",
        guest=guest,
        path="irq",
        opened=status.open + rest.opened,
        sent=x.sent.sent + rest.sent,
        seen=s.seen + rest.seen,
        lost=s.lost + rest.lost,
        duplicated=s.duplicated + rest.duplicated,
        seconds=x.seconds,
        guest_bytes_per_port=(s.mem_free_before_kib - s.mem_free_open_kib) * 1024 / s.opened,
        xen_bytes_per_port=(xen_before - found["xen"]) * PAGE / s.opened,
        note=f"{own} of the ports are the guest's own, {rest.opened} a loopback in it"
        + ("" if files else "; their IRQs have no files"),
    )
    assert s.opened == count
    assert status.open == own + count
    # All were open at once, and one more was refused.
    assert (rest.opened, rest.refused) == (LOOPBACK, "ENOSPC")
    assert status.open + rest.opened == LIMIT
    assert (x.sent.sent, x.sent.send_failed, s.seen) == (count, 0, count)
    assert (s.lost, s.duplicated, s.unknown, s.early) == (0, 0, 0, 0)
    assert (rest.sent, rest.seen, rest.lost, rest.duplicated) == (LOOPBACK, LOOPBACK, 0, 0)
    # All are closed, in Xen and in Linux.
    assert tool(dom0, "evtchn-status", "--domid", g.domid).result.open == own
    taken = s.mem_free_before_kib - s.mem_free_open_kib
    kept = s.mem_free_before_kib - x.closed.mem_free_closed_kib
    assert kept <= taken // 10 + 8 * 1024, f"Linux kept {kept} of {taken} KiB"


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize("guest", ["pv64"])
def test_killed_with_half_a_million(machine, dom0, start_guest, tool, metric, guest):
    """Kill a process that has one file with 500,000 ports: closing takes long but must not block others."""
    g = start_guest(name="killed", kind=guest, memory_mib=2816, max_event_channels=LIMIT)
    own = tool(dom0, "evtchn-status", "--domid", g.domid).result.open
    with lifecycle.held(g.ssh, files=1, ports=KILLED, timeout=1_800) as pid:
        assert lifecycle.until_open(dom0, own + KILLED, domid=g.domid) == own + KILLED
        begin = time.monotonic()
        g.ssh.run(f"kill -9 {pid}", timeout=30)
        # Meanwhile another program in the guest can open ports and receive events.
        waits = []
        while (left := tool(dom0, "evtchn-status", "--domid", g.domid).result.open) > own:
            asked = time.monotonic()
            between = tool(g, "evtchn-dev", "loopback", "--count", 64).result
            assert (between.opened, between.sent, between.seen) == (64, 64, 64), left
            waits.append(time.monotonic() - asked)
            assert time.monotonic() - begin < CLOSING * machine.watchdog.time_scale, f"{left} are still open"
        closing = time.monotonic() - begin
    assert len(waits) >= 3, "closing ended before enough turns were measured"
    metric("seconds to close all", closing)
    metric("longest ms of 64 ports' turn meanwhile", max(waits) * 1000)
