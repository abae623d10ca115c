# SPDX-License-Identifier: GPL-2.0-or-later
"""Basic checks: dom0 and guests boot with the requested ABI and deliver events.

Injected faults check that the counting, on which all other suites rely, detects them.
"""

from __future__ import annotations

import pytest

from harness.core.records import LINUX_EVENTS, LINUX_TEST, Abi
from harness.guest import debugfs
from harness.guest.exchange import exchange
from harness.guest.protocol import ToolError
from harness.guest.tools import LIMITS, abi_of

FEW = 1_000

# Keep the same spec as test_limits.py so that both suites share one boot per ABI.
pytestmark = pytest.mark.machine(memory_mib=3072, dom0_mib=1024)
ABIS = pytest.mark.parametrize("abi", ["3l", "fifo", "2l"])
GUESTS = pytest.mark.parametrize("guest", ["pv64", "pvh64", "pvh32"])


@ABIS
def test_dom0_uses_the_abi(dom0, lacks, abi):
    """The kernel's log, the test module and debugfs name the ABI, and debugfs' numbers are consistent."""
    assert abi_of(dom0) == abi
    if LINUX_TEST not in lacks:
        assert dom0.run("cat /sys/kernel/debug/xen_evtchn_test/abi", timeout=30).out.strip() == abi
    if LINUX_EVENTS in lacks:
        return
    view = debugfs.read(dom0)
    assert (view.abi, view.limit) == (abi, LIMITS[Abi(abi)] + 1)
    assert view.usable <= view.limit
    assert 10 < view.bound == sum(view.per_cpu.values())
    assert len(view.per_cpu) == int(dom0.run("nproc", timeout=30).out)
    if abi == "3l":
        assert (view.usable, view.shared_pages) == (view.limit, 32)


# A machine of its own, because ports opened by other tests would change the numbers.
@pytest.mark.machine(abi="3l", vcpus=3)
@pytest.mark.asks(LINUX_EVENTS)
def test_the_view_follows_what_is_bound(dom0, tool):
    """Ports in a second page give each CPU exactly one more bitmap page; closed ports are no longer bound."""
    before = debugfs.read(dom0)
    tool(dom0, "evtchn-dev", "loopback", "--count", 40_000, timeout=300)
    after = debugfs.read(dom0)
    assert (before.bitmap_pages, after.bitmap_pages) == (1, 2)
    assert after.bound == before.bound
    assert after.to_free <= 4_096


@ABIS
@pytest.mark.asks(LINUX_TEST)
def test_few_raw(dom0, tool, row, abi):
    r = tool(dom0, "evtchn-raw", "--count", FEW).result
    row(
        abi=abi,
        guest="dom0",
        path="raw",
        opened=r.opened,
        **r.counts,
    )
    assert (r.opened, r.sent, r.seen) == (FEW, FEW, FEW)
    assert (r.lost, r.duplicated, r.stray, r.early) == (0, 0, 0, 0)
    assert r.drained == r.bound == FEW // 2
    assert r.still_open == 0


@ABIS
def test_few_irq(dom0, tool, row, abi):
    before = tool(dom0, "evtchn-status").result.open
    r = tool(dom0, "evtchn-dev", "loopback", "--count", FEW).result
    row(
        abi=abi,
        guest="dom0",
        path="irq",
        opened=r.opened,
        **r.counts,
    )
    assert (r.opened, r.sent, r.seen) == (FEW, FEW, FEW)
    assert (r.lost, r.duplicated, r.unknown, r.early) == (0, 0, 0, 0)
    assert r.drained == r.bound == FEW // 2
    assert tool(dom0, "evtchn-status").result.open == before


def send_few(dom0, row, g, *, abi, note="", count=FEW):
    """Send a few events from dom0 to a guest and check that each is counted once."""
    x = exchange(g.ssh, dom0, receiver_domid=g.domid, count=count, timeout=120)
    s = x.served
    row(abi=abi, guest=g.spec.kind, path="irq", opened=s.opened, **x.counts, note=note)
    assert (s.opened, x.sent.sent, s.seen) == (count, count, count)
    assert (s.lost, s.duplicated, s.unknown, s.early, x.sent.send_failed) == (0, 0, 0, 0, 0)


@pytest.mark.machine(abi="3l")
@GUESTS
def test_few_to_a_guest(dom0, start_guest, row, guest):
    g = start_guest(name="few", kind=guest, max_event_channels=4_000)
    assert abi_of(g.ssh) == "3l"
    view = debugfs.read(g.ssh)
    assert (view.abi, view.usable, view.shared_pages, view.bitmap_pages) == ("3l", 4_001, 2, 1)
    send_few(dom0, row, g, abi="3l")
    # Xen writes the time when an HVM guest determines the width of its shared info, or switches.
    before, there, after = (int(one.run("date +%s", timeout=60).out) for one in (dom0, g.ssh, dom0))
    assert before - 2 <= there <= after + 2


@pytest.mark.machine(abi="3l")
@pytest.mark.cell(abi="2l")
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_few_by_2_levels(dom0, start_guest, row, guest):
    g = start_guest(name="few", kind=guest, abi="2l", max_event_channels=4_000)
    assert abi_of(g.ssh) == "2l"
    send_few(dom0, row, g, abi="2l")


@pytest.mark.machine(abi="3l")
@pytest.mark.cell(abi="2l")
@pytest.mark.parametrize("guest", ["pvh32"])
def test_few_by_2_levels_of_32_bits(dom0, start_guest, row, guest):
    """A 32-bit guest has only a quarter of the 2-level ports, so `count` is smaller here."""
    g = start_guest(name="few", kind=guest, abi="2l", max_event_channels=4_000)
    assert abi_of(g.ssh) == "2l"
    send_few(dom0, row, g, abi="2l", count=500)


@pytest.mark.machine(abi="3l")
@pytest.mark.cell(abi="fifo")
@GUESTS
def test_guest_that_says_nothing(dom0, start_guest, row, lacks, guest):
    """Without kernel parameters, a guest uses FIFO, with the patched Linux on the patched Xen as before."""
    g = start_guest(name="silent", kind=guest, abi=None, max_event_channels=4_000)
    assert "xen." not in g.ssh.run("cat /proc/cmdline", timeout=30).out
    assert abi_of(g.ssh) == "fifo"
    assert LINUX_EVENTS in lacks or debugfs.read(g.ssh).abi == "fifo"
    send_few(dom0, row, g, abi="fifo", note="no parameter given to its kernel")


@pytest.mark.machine(abi="3l")
@ABIS
@pytest.mark.parametrize("guest", ["pv64"])
@pytest.mark.asks(LINUX_EVENTS)
def test_the_abi_by_one_parameter(dom0, start_guest, row, guest, abi):
    """``xen.evtchn_abi=`` overrides the older parameters; here they always say something else."""
    older = "xen.3l_events=0 xen.fifo_events=1" if abi != "fifo" else "xen.3l_events=1 xen.fifo_events=0"
    args = f"xen.evtchn_abi={abi} {older}"
    g = start_guest(name="chosen", kind=guest, abi=None, max_event_channels=4_000, extra_args=args)
    assert abi_of(g.ssh) == debugfs.read(g.ssh).abi == abi
    send_few(dom0, row, g, abi=abi, note="xen.evtchn_abi")


# Each fault affects one port. Expected counts: (lost, duplicated, early).
COUNTS = {"lose": (1, 0, 0), "double": (0, 1, 0), "early": (1, 0, 1)}
FAULTS = pytest.mark.parametrize("fault", COUNTS)


@pytest.mark.machine(abi="3l")
@FAULTS
@pytest.mark.asks(LINUX_TEST)
def test_a_fault_is_counted_raw(dom0, tool, fault):
    r = tool(dom0, "evtchn-raw", "--count", 101, "--break", fault).result
    assert (r.lost, r.duplicated, r.early) == COUNTS[fault]


@pytest.mark.machine(abi="3l")
@FAULTS
def test_a_fault_is_counted_irq(dom0, tool, fault):
    r = tool(
        dom0,
        "evtchn-dev",
        "loopback",
        "--count",
        101,
        "--break",
        fault,
        "--patience-ms",
        2_000,
    ).result
    assert (r.lost, r.duplicated, r.early) == COUNTS[fault]


@pytest.mark.machine(abi="3l")
@pytest.mark.cell(guest="pv64")
def test_a_fault_is_counted_between_domains(dom0, start_guest):
    g = start_guest(name="faulty", kind="pv64")
    for fault, counts in COUNTS.items():
        s = exchange(
            g.ssh,
            dom0,
            receiver_domid=g.domid,
            count=100,
            timeout=60,
            fault=fault,
            close=True,
        ).served
        assert (s.lost, s.duplicated, s.early) == counts, fault


@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize(("fault", "counts"), [("none", (0, 0)), ("lose", (1, 0)), ("double", (0, 1))])
def test_a_fault_is_counted_by_the_load(dom0, load, fault, counts):
    one = load(dom0, ports=50, fault=fault)
    one.go()
    t = one.pause()
    assert (t.lost, t.duplicated) == counts
    assert t.exact == (fault == "none")


@pytest.mark.machine(abi="3l")
def test_a_full_ring_is_told(dom0, tool):
    with pytest.raises(ToolError) as error:
        tool(dom0, "evtchn-dev", "loopback", "--count", 64, "--break", "overflow")
    assert error.value.errno == "EFBIG"
