# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with different ABIs, widths and kernels side by side, exchanging events with each other and dom0."""

from __future__ import annotations

import itertools

import pytest

from harness.guest.exchange import exchange
from harness.guest.tools import abi_of

pytestmark = pytest.mark.machine(memory_mib=3072, dom0_mib=1024)
MEMORY = 192
CHANNELS = 4_000
FEW = 900  # a 32-bit 2-level guest has only 1,023 ports


def few_from_dom0(dom0, row, g, *, note):
    """Send a few events from dom0 to a guest and check that each is counted once."""
    x = exchange(g.ssh, dom0, receiver_domid=g.domid, count=FEW, timeout=120)
    s = x.served
    abi = abi_of(g.ssh)
    row(abi=abi, guest=g.spec.kind, path="irq", opened=s.opened, **x.counts, note=note)
    assert (s.opened, x.sent.sent, s.seen) == (FEW, FEW, FEW)
    assert (s.lost, s.duplicated, s.unknown, s.early, x.sent.send_failed) == (0, 0, 0, 0, 0)


def all_talk(dom0, guests, load, row, *, ports, seconds=5):
    """Run a load between every two domains (dom0 included) at once, and check each pair's counts."""
    everyone = {"dom0": dom0, **{f"{g.spec.abi} {g.spec.kind}": g for g in guests}}
    loads = {
        (a, b): load(everyone[a], everyone[b], ports=ports) for a, b in itertools.combinations(everyone, 2)
    }
    for one in loads.values():
        one.go()
    guests[0].machine.pause(seconds)
    tallies = {names: one.pause() for names, one in loads.items()}
    for (a, b), t in tallies.items():
        g = everyone[b]
        row(abi=str(g.spec.abi), guest=g.spec.kind, path="load", opened=t.ports, **t.counts,
            note=f"{a} and {b}")  # fmt: skip
    for names, t in tallies.items():
        assert t.exact, f"{names}: {t}"


@pytest.mark.machine(abi="3l")
@pytest.mark.cell(guest="pv64", abi="3l")
def test_abis_side_by_side(dom0, start_guest, load, row):
    guests = [
        start_guest(name=f"{kind}-{abi}", kind=kind, abi=abi, memory_mib=MEMORY, max_event_channels=CHANNELS)
        for abi, kind in (("2l", "pv64"), ("fifo", "pvh64"), ("3l", "pv64"), ("3l", "pvh64"))
    ]
    assert [abi_of(g.ssh) for g in guests] == ["2l", "fifo", "3l", "3l"]
    all_talk(dom0, guests, load, row, ports=100)


@pytest.mark.machine(abi="3l")
@pytest.mark.cell(guest="pvh32", abi="3l")
def test_both_widths(dom0, start_guest, load, row):
    guests = [
        start_guest(name=f"{kind}-{abi}", kind=kind, abi=abi, memory_mib=MEMORY, max_event_channels=CHANNELS)
        for abi, kind in (("3l", "pvh32"), ("2l", "pvh32"), ("3l", "pv64"))
    ]
    assert [abi_of(g.ssh) for g in guests] == ["3l", "2l", "3l"]
    all_talk(dom0, guests, load, row, ports=100)


@pytest.mark.machine(abi="3l", dom0_mib=1280)
@pytest.mark.needs("i386-hvm")
@pytest.mark.cell(guest="hvm64", abi="3l")
def test_with_device_models(dom0, start_guest, load, row):
    """Guests of both widths that boot through firmware, and one that does not."""
    guests = [
        start_guest(name=f"{kind}-{abi}", kind=kind, abi=abi, memory_mib=MEMORY, max_event_channels=CHANNELS)
        for abi, kind in (("3l", "hvm64"), ("2l", "hvm64"), ("3l", "hvm32"), ("3l", "pv64"))
    ]
    assert [abi_of(g.ssh) for g in guests] == ["3l", "2l", "3l", "3l"]
    all_talk(dom0, guests, load, row, ports=100)


# Xen without the option with which the harness boots it: Debian's toolstack does not know the flag.
@pytest.mark.machine(abi="3l", xen_args="evtchn-3l=on")
@pytest.mark.cell(abi="fifo")
@pytest.mark.parametrize("guest", ["pv64", "pvh64", "pvh32"])
def test_guest_without_permission(dom0, start_guest, row, guest):
    """Dom0 has the 3-level ABI; a guest that nobody has allowed to have it goes on with FIFO, or 2-level."""
    assert abi_of(dom0) == "3l"
    for args, abi in (("", "fifo"), ("xen.fifo_events=0", "2l")):
        g = start_guest(
            name=f"not-{abi}", kind=guest, memory_mib=MEMORY, max_event_channels=CHANNELS, extra_args=args
        )
        assert "No 3-level ABI in this hypervisor" in g.ssh.run("dmesg", timeout=30).out
        assert abi_of(g.ssh) == abi
        few_from_dom0(dom0, row, g, note="not allowed to use 3l")


@pytest.mark.needs("stock")
@pytest.mark.machine(abi="3l")
@pytest.mark.cell(abi="fifo")
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_stock_kernel_as_guest(dom0, start_guest, row, guest):
    """Debian's own kernel, unmodified."""
    g = start_guest(
        name="stock", kind=guest, kernel="stock", abi=None, memory_mib=384, max_event_channels=4_000
    )
    assert "Debian" in g.ssh.run("cat /proc/version", timeout=30).out
    assert abi_of(g.ssh) == "fifo"
    few_from_dom0(dom0, row, g, note="Debian's kernel")


@pytest.mark.machine(abi="fifo", dom0_kernel="stock-dom0")
@pytest.mark.cell(guest="dom0", abi="fifo")
def test_stock_kernel_as_dom0(dom0, start_guest, row):
    """Debian's own kernel, unmodified, as dom0 on the patched Xen with a patched guest."""
    assert "Debian" in dom0.run("cat /proc/version", timeout=30).out
    assert abi_of(dom0) == "fifo"
    g = start_guest(name="ours", kind="pv64", max_event_channels=4_000)
    assert abi_of(g.ssh) == "3l"
    few_from_dom0(dom0, row, g, note="dom0 is Debian's kernel")
