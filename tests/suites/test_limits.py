# SPDX-License-Identifier: GPL-2.0-or-later
"""Every limit of every ABI: all ports open at once, each notified once, each seen once, one more refused.

Two paths that scale differently are tested. ``raw``: only hypercalls; events
are read from the pending bitmap. ``irq``: each port has an IRQ in Linux, and
an event counts once its handler has delivered it to user space.
"""

from __future__ import annotations

import pytest

from harness.core.records import LINUX_EVENTS, LINUX_TEST, Abi
from harness.guest import debugfs
from harness.guest.exchange import exchange
from harness.guest.lifecycle import held, until_open
from harness.guest.tools import LIMITS, abi_of, limit_of
from harness.plan.guests import KINDS

PAGE = 4096
EVTCHN_BYTES = 64  # sizeof(struct evtchn); Xen may keep its buckets after ports are closed (ABI 8)
SLACK_PAGES = 64  # other allocations of Xen meanwhile
PAST_FIFO = LIMITS[Abi.FIFO] + 2  # 131,072 + 1
# More ports than FIFO has and far fewer than 3l, so a guest reaches its ABI's limit or this one.
PLENTY = 140_000

pytestmark = pytest.mark.machine(memory_mib=3072, dom0_mib=1024)
# 524,287 ports at some 4.1 KiB of Linux's memory each.
BIG = pytest.mark.machine(memory_mib=4608, dom0_mib=3584)


def core(*values, marks=()):
    return pytest.param(*values, marks=[pytest.mark.core, *marks])


@pytest.mark.parametrize("abi", [core("3l"), "fifo", "2l"])
@pytest.mark.asks(LINUX_TEST)
def test_raw_all_ports(dom0, tool, row, abi):
    limit = LIMITS[Abi(abi)]
    assert abi_of(dom0) == abi
    first = tool(dom0, "evtchn-raw", "--count", "max", timeout=240).result
    again = tool(dom0, "evtchn-raw", "--count", "max", "--no-send", timeout=240).result
    row(
        abi=abi,
        guest="dom0",
        path="raw",
        opened=first.open_at_once,
        **first.counts,
        xen_bytes_per_port=(first.xen_free_before - first.xen_free_open) * PAGE / first.opened,
        note=f"{first.system} of the ports are dom0's own; alloc {first.alloc_ns_first} ns at the first, "
        f"{first.alloc_ns_middle or '-'} at the 100,000th, {first.alloc_ns_last} at the last",
    )

    # All were open at once, by Xen's count and the tool's, and one more was refused.
    assert first.abi == abi
    assert first.open_at_once == limit
    assert first.opened + first.system == limit
    assert first.refused == "ENOSPC"

    # Each was seen once, and no other events.
    assert first.drained == first.bound
    assert (first.sent, first.send_failed) == (first.opened, 0)
    assert first.seen == first.opened
    assert (first.lost, first.duplicated, first.stray, first.early) == (0, 0, 0, 0)

    # All are closed. Xen may keep its buckets, but must not allocate them again in the second round.
    assert first.still_open == again.still_open == 0
    assert again.open_at_once == limit
    kept = first.xen_free_before - first.xen_free_closed
    assert kept <= limit * EVTCHN_BYTES // PAGE + SLACK_PAGES
    assert first.xen_free_closed - again.xen_free_closed <= SLACK_PAGES

    # The last allocation costs as much as the first. A search that grows with the number of ports shows
    # in both rounds, a noisy moment of the host in only one.
    ratios = [r.alloc_ns_last / r.alloc_ns_first for r in (first, again)]
    assert min(ratios) <= 1.5, f"the last allocations cost {ratios} times the first"


@pytest.mark.parametrize("abi", [pytest.param("3l", marks=BIG), "fifo", "2l"])
def test_irq_all_ports(dom0, tool, row, metric, abi):
    limit = LIMITS[Abi(abi)]
    system = tool(dom0, "evtchn-status").result.open
    r = tool(dom0, "evtchn-dev", "loopback", "--count", "max", timeout=1_200).result
    row(
        abi=abi,
        guest="dom0",
        path="irq",
        opened=r.opened + system,
        **r.counts,
        guest_bytes_per_port=(r.mem_free_before_kib - r.mem_free_open_kib) * 1024 / r.opened,
        # None if Xen had already allocated its buckets in an earlier test on this machine.
        xen_bytes_per_port=(r.xen_free_before - r.xen_free_open) * PAGE / r.opened or None,
        note=f"{system} of the ports are dom0's own",
    )
    metric("ns to open a port", r.open_ns)
    metric("ns to close one", r.close_ns)
    assert r.opened + system == limit
    assert r.refused == "ENOSPC"
    assert r.drained == r.bound
    assert r.sent == r.seen == r.opened
    assert (r.lost, r.duplicated, r.unknown, r.early) == (0, 0, 0, 0)
    # All are closed in Xen and in Linux, which frees IRQ descriptors later; the tool waits for that.
    assert tool(dom0, "evtchn-status").result.open == system
    taken = r.mem_free_before_kib - r.mem_free_open_kib
    kept = r.mem_free_before_kib - r.mem_free_closed_kib
    assert kept <= taken // 10 + 8 * 1024, f"Linux kept {kept} of {taken} KiB"


def fill_guest(dom0, tool, row, g, *, count, note="", stale=0):
    """Open ports in a guest, notify each from dom0, and check what must hold for every ABI.

    Args:
        stale: maximum number of ports that may have an event when they are opened.

    Returns:
        Xen's status of the guest while all ports are open, and the exchange.
    """
    status = {}
    xen_before = tool(dom0, "xen-free").result.free_pages

    def when_open(ports):
        status["xen_free"] = tool(dom0, "xen-free").result.free_pages
        status["guest"] = tool(dom0, "evtchn-status", "--domid", g.domid).result

    x = exchange(
        g.ssh,
        dom0,
        receiver_domid=g.domid,
        count=count,
        timeout=900,
        when_open=when_open,
    )
    s = x.served
    row(
        abi=str(g.spec.abi),
        guest=g.spec.kind,
        path="irq",
        opened=status["guest"].open,
        **x.counts,
        guest_bytes_per_port=(s.mem_free_before_kib - s.mem_free_open_kib) * 1024 / s.opened,
        xen_bytes_per_port=(xen_before - status["xen_free"]) * PAGE / s.opened,
        note=note or f"{status['guest'].open - s.opened} of the ports are the guest's own",
    )
    assert (x.sent.sent, x.sent.send_failed) == (s.opened, 0)
    assert s.seen == s.opened
    assert (s.lost, s.duplicated, s.unknown) == (0, 0, 0)
    assert s.early <= stale
    assert status["guest"].unbound >= s.opened
    return status["guest"], x


@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize("guest", [core("pv64"), "pvh64", "hvm64"])
def test_guest_past_fifo(dom0, start_guest, tool, row, guest):
    """A guest with more ports than FIFO can hold."""
    g = start_guest(name="past-fifo", kind=guest, memory_mib=1024, max_event_channels=PLENTY)
    assert abi_of(g.ssh) == "3l"
    status, x = fill_guest(dom0, tool, row, g, count=PAST_FIFO)
    assert x.served.opened == PAST_FIFO
    assert x.ports.refused is None
    assert status.open > LIMITS[Abi.FIFO] + 1


# An HVM guest's firmware is 32-bit. Where the 32-bit layout has the time of day (wc_version, wc_sec,
# wc_nsec), a 64-bit kernel has the pending bits of ports 2,048 to 2,143, and it finds the old contents
# there: hvm_latch_shinfo_size() clears nothing in any Xen.
STALE = {("hvm64", "2l"): 3 * 32}


# On a 3l dom0, because only that has enough ports to bind to the guest's.
@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize("abi", ["2l", "fifo"])
@pytest.mark.parametrize("guest", KINDS)
def test_guest_that_does_not_ask(dom0, start_guest, tool, row, guest, abi):
    """A guest without 3l keeps its old limit, however many channels its configuration allows."""
    memory = 1024 if abi == "fifo" else 256
    g = start_guest(
        name=f"old-{abi}",
        kind=guest,
        abi=Abi(abi),
        memory_mib=memory,
        max_event_channels=PLENTY,
    )
    assert abi_of(g.ssh) == abi
    status, x = fill_guest(dom0, tool, row, g, count=None, stale=STALE.get((guest, abi), 0))
    assert x.ports.refused == "ENOSPC"
    assert status.open == limit_of(guest, abi)


@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize("guest", ["pvh32", "hvm32"])
def test_guest_all_ports(dom0, start_guest, tool, row, guest):
    """Every port of a 32-bit guest; the suite ``full`` tests the 64-bit ones."""
    g = start_guest(name="all", kind=guest, memory_mib=1024, max_event_channels=PLENTY)
    assert abi_of(g.ssh) == "3l"
    status, x = fill_guest(dom0, tool, row, g, count=None)
    assert x.ports.refused == "ENOSPC"
    assert status.open == limit_of(guest, "3l") == 65_535


@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize("guest", KINDS)
def test_guest_default_bound(dom0, start_guest, tool, row, guest):
    """xl's default limit of 1,023 channels applies to a 3l guest as to any other."""
    g = start_guest(name="default", kind=guest)
    assert abi_of(g.ssh) == "3l"
    status, x = fill_guest(dom0, tool, row, g, count=None, note="max_event_channels left at its default")
    assert x.ports.refused == "ENOSPC"
    assert status.open == 1_023


# What a CPU needs to come up: its timer and three IPIs, in a PV guest a fourth one, with 2l VIRQ_DEBUG. PV
# spinlocks want one more, but do without.
XENSTORE_AND_CONSOLE = 2
# By kind of guest: how many CPUs, and channels that are too few for them. A PVH guest with eight CPUs takes
# minutes for stop_machine() on two emulated ones.
MANY_CPUS = {"pv64": (8, 40), "pvh64": (4, 16)}


def channels_of_a_cpu(kind: str, abi: str) -> int:
    return 4 + (KINDS[kind].type == "pv") + (abi == "2l")


def told(g, words: str) -> list[str]:
    """The lines of a guest's console with these words."""
    return [line.text for line in g.machine.consoles.lines(layer=g.layer) if words in line.text]


@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize("abi", ["3l", "fifo", "2l"])
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_fewer_channels_than_its_cpus_need(dom0, start_guest, tool, metric, guest, abi):
    """The guest comes up with the CPUs it has channels for and says so in a line, down to what one CPU needs.

    CPUs get the channels first, so there are none for a network.
    """
    need = channels_of_a_cpu(guest, abi)
    cpus, few = MANY_CPUS[guest]
    for channels in (few, XENSTORE_AND_CONSOLE + 2 * need, XENSTORE_AND_CONSOLE + need):
        g = start_guest(
            name=f"few-{abi}-{channels}", kind=guest, abi=abi, memory_mib=192, network=False,
            vcpus=cpus, max_event_channels=channels,
        )  # fmt: skip
        open_now = tool(dom0, "evtchn-status", "--domid", g.domid).result.open
        (brought,) = told(g, "Brought up")
        up = int(brought.split(" CPU")[0].split()[-1])
        metric(f"CPUs with {channels} channels", up)
        (line,) = told(g, "CPUs are up")
        assert f"xen: {up} of {cpus} CPUs are up: no event channels" in line
        # Those that did not come up hold nothing, and nothing is left for another one.
        assert XENSTORE_AND_CONSOLE + up * need <= open_now <= XENSTORE_AND_CONSOLE + up * (need + 1)
        assert channels - open_now < need
        g.destroy()


# Not pv64: a PV kernel can never bring up CPUs beyond maxcpus=.
@pytest.mark.machine(abi="3l")
@pytest.mark.parametrize("abi", ["3l", "fifo", "2l"])
@pytest.mark.parametrize("guest", ["pvh64"])
def test_cpu_without_channels(dom0, start_guest, tool, guest, abi):
    """A CPU that lacks one channel stays offline, keeps none, and comes online once there is one."""
    channels = 100
    g = start_guest(
        name=f"cpu-{abi}", kind=guest, abi=abi, max_event_channels=channels, extra_args="maxcpus=1"
    )

    def open_now():
        return tool(dom0, "evtchn-status", "--domid", g.domid).result.open

    before = open_now()
    taken = channels - before - channels_of_a_cpu(guest, abi) + 1
    online = "/sys/devices/system/cpu/cpu1/online"
    with held(g.ssh, files=1, ports=taken):
        for _ in range(2):
            failed = g.ssh.run(f"echo 1 > {online}", timeout=60, check=False)
            assert failed.rc and "No space left on device" in failed.err, failed
            assert open_now() == before + taken
    assert len(told(g, "CPU 1 stays off line: no event channels for its timer and IPIs (-28)")) == 2
    assert until_open(dom0, before, domid=g.domid) == before
    g.ssh.run(f"echo 1 > {online}", timeout=60)
    assert g.ssh.run("nproc", timeout=30).out.strip() == "2"


RNG = "/sys/bus/virtio/drivers/virtio_rng/virtio*"
PCI = "/sys/bus/pci/drivers/virtio-pci"


@pytest.mark.parametrize("abi", ["3l", "fifo", "2l"])
@pytest.mark.asks(LINUX_EVENTS)
def test_device_with_a_high_port(dom0, abi):
    """A PCI device of dom0 has interrupts whose ports are the first in a row of Linux's tables.

    With ``--flavour linux-debug`` the kernel reports if it allocates memory for them where it must not sleep.
    """
    row_of = PAGE // 4
    device = dom0.run(f"readlink -f {RNG}", timeout=30).out.split("/")[-2]
    before = debugfs.read(dom0).bound
    with held(dom0, files=1, ports=row_of):
        assert debugfs.read(dom0).bound == before + row_of
        dom0.run(f"echo {device} > {PCI}/unbind && echo {device} > {PCI}/bind", timeout=60)
        assert len(dom0.run("head -c 64 /dev/hwrng | base64", timeout=60).out) > 64
