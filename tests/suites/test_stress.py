# SPDX-License-Identifier: GPL-2.0-or-later
"""Storms of events, drawn from a seed; each lasts `--minutes`, by default a few seconds.

The sender counts what it sends, the receiver what arrives.
"""

from __future__ import annotations

import pytest

from harness.guest.exchange import exchange
from harness.guest.lifecycle import abi_now, until_open
from harness.guest.tools import abi_of

pytestmark = pytest.mark.machine(abi="3l", memory_mib=3072, dom0_mib=1024)
ABIS = pytest.mark.parametrize("abi", ["3l", "fifo", "2l"])
MEMORY = 192
CHANNELS = 10_000
UNEVEN = 1.10  # maximum ratio of the most to the least served port
# Minimum number of times that each port is served: a tenth of it must be several rounds, because each
# start and stop may serve one port once more than another.
ENOUGH = 60
LONGEST = 600  # seconds at reference speed, to serve each so often


def judge_load(row, g, t, note):
    """Add a row to the table and check that nothing was lost or duplicated."""
    row(abi=str(g.spec.abi), guest=g.spec.kind, path="load", opened=t.ports, **t.counts, note=note)
    assert t.exact, t


@pytest.mark.cell(guest="pv64", abi="3l")
@pytest.mark.parametrize("ports", [1, 200])
def test_latency_side_by_side(machine, start_guest, load, row, metric, storm_seconds, seed, ports):
    """Round trips between two guests of each ABI; the ABIs alternate, so host noise affects them alike."""
    loads = {}
    for abi in ("2l", "fifo", "3l"):
        a, b = (
            start_guest(
                name=f"of-{abi}-{end}", kind="pv64", abi=abi, memory_mib=MEMORY, vcpus=1,
                max_event_channels=CHANNELS,
            )
            for end in "ab"
        )  # fmt: skip
        assert abi_of(a.ssh) == abi_of(b.ssh) == abi
        loads[abi] = a, load(a, b, ports=ports, seed=seed)
    tallies = {}
    turns = 4
    for _ in range(turns):
        for abi, (_, one) in loads.items():
            one.go()
            machine.pause(storm_seconds / turns)
            tallies[abi] = one.pause()
    for abi, (guest, _) in loads.items():
        t = tallies[abi]
        judge_load(row, guest, t, f"two guests, {ports} at once; p50 {t.p50_us:,.0f}, p99 {t.p99_us:,.0f}, "
                   f"p99.9 {t.p999_us:,.0f}, most {t.max_us:,.0f} us to and fro")  # fmt: skip
        for name in ("p50", "p99", "p999", "max"):
            metric(f"{abi} {name} us", getattr(t, f"{name}_us"))


@ABIS
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_fairness(machine, start_guest, load, row, metric, storm_seconds, seed, guest, abi):
    """A thousand busy ports are served equally often."""
    g = start_guest(
        name="fair", kind=guest, abi=abi, memory_mib=MEMORY, max_event_channels=CHANNELS
    )
    one = load(g, ports=1_000, seed=seed)
    one.go()
    machine.pause(storm_seconds)
    t = one.pause()
    if t.least < ENOUGH:
        # Slow host: one longer turn.
        one.go()
        machine.pause(min(storm_seconds * ENOUGH / max(t.least, 1), LONGEST * machine.watchdog.time_scale))
        t = one.pause()
    metric("least served", t.least)
    metric("most served", t.most)
    judge_load(row, g, t, f"served {t.least} to {t.most} times")
    assert t.least >= ENOUGH, "too short to tell"
    assert t.most <= t.least * UNEVEN


@ABIS
@pytest.mark.parametrize("guest", ["pv64"])
def test_all_to_all_between_vcpus(machine, start_guest, load, row, storm_seconds, seed, guest, abi):
    """Each vCPU sends to each, through ports whose interrupts the test distributes explicitly."""
    vcpus = 4
    g = start_guest(
        name="all", kind=guest, abi=abi, memory_mib=MEMORY, vcpus=vcpus, max_event_channels=CHANNELS
    )
    ports = vcpus * vcpus * 16
    one = load(g, ports=ports, seed=seed)
    # The first half of the load's IRQs belong to the ping ends, in the order in which they were opened.
    spread = g.ssh.run(
        "n=0; for irq in $(grep evtchn-load /proc/interrupts | cut -d: -f1); do "
        f"[ $n -lt {ports} ] && cpu=$((n % {vcpus})) || cpu=$((n / {vcpus} % {vcpus})); "
        "echo $((1 << cpu)) > /proc/irq/$irq/smp_affinity; n=$((n + 1)); done; echo $n",
        timeout=120,
    )
    assert int(spread.out) == 2 * ports
    one.go()
    machine.pause(storm_seconds)
    judge_load(row, g, one.pause(), f"{vcpus} vCPUs, each to each")
    # The kernel's own counts show that each vCPU had its share.
    counts = g.ssh.run("grep evtchn-load /proc/interrupts", timeout=30).out.splitlines()
    each = [sum(int(line.split()[1 + cpu]) for line in counts) for cpu in range(vcpus)]
    assert min(each) > sum(each) / vcpus / 2, each


@ABIS
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_late_enabling(machine, dom0, start_guest, load, row, storm_seconds, seed, guest, abi):
    """Ports are unmasked late, some before their answer and some after it: an event that comes to a
    masked port is delivered when the port is unmasked."""
    g = start_guest(name="late", kind=guest, abi=abi, memory_mib=MEMORY, max_event_channels=CHANNELS)
    inside, outside = load(g, ports=300, seed=seed, late=12), load(dom0, g, ports=300, seed=seed, late=12)
    inside.go()
    outside.go()
    machine.pause(storm_seconds)
    judge_load(row, g, inside.pause(), "enabled up to 12 rounds late, inside")
    judge_load(row, g, outside.pause(), "enabled up to 12 rounds late, with dom0")


@ABIS
@pytest.mark.parametrize("guest", ["pv64", "pvh64", "pvh32"])
def test_churn(dom0, start_guest, load, tool, row, storm_seconds, seed, guest, abi):
    """Several processes open and close ports while a load runs."""
    g = start_guest(name="churn", kind=guest, abi=abi, memory_mib=MEMORY, max_event_channels=CHANNELS)
    before = tool(dom0, "evtchn-status", "--domid", g.domid).result.open
    one = load(dom0, g, ports=100, seed=seed)
    one.go()
    r = tool(
        g, "evtchn-churn", "--processes", 6, "--pairs", 40, "--ms", round(storm_seconds * 1000),
        "--seed", seed, timeout=storm_seconds + 120,
    ).result  # fmt: skip
    judge_load(row, g, one.pause(), "with dom0, beside six processes that open and close")
    row(
        abi=abi, guest=guest, path="irq", opened=6 * 2 * 40, sent=r.sent - r.dropped, seen=r.seen,
        lost=r.lost, duplicated=r.duplicated, seconds=r.seconds,
        note=f"churn: {r.opened:,} ports opened, {seed=}",
    )  # fmt: skip
    # More ports than are open at once, so some were closed and opened again.
    assert r.opened > 6 * 2 * 40 + 100 and r.seen > 500, r
    assert (r.lost, r.duplicated) == (0, 0)
    assert r.sent == r.seen + r.dropped
    one.close()
    assert until_open(dom0, before, domid=g.domid) == before, "ports are left"


@ABIS
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_hostile_peer(machine, dom0, start_guest, load, row, storm_seconds, seed, guest, abi):
    """While one guest floods another, the victim's ports with dom0 are still served."""
    words = {"kind": guest, "abi": abi, "memory_mib": MEMORY, "max_event_channels": CHANNELS}
    victim = start_guest(name="victim", **words)
    hostile = start_guest(name="hostile", **words)
    honest = load(dom0, victim, ports=50, seed=seed)
    honest.go()
    machine.pause(1)
    calm = honest.pause()
    honest.go()
    attack = load(victim, hostile, ports=50, seed=seed)
    attack.flood(storm_seconds, beside=[victim])
    t = honest.pause()
    judge_load(row, victim, t, "the victim's with dom0, while another guest floods it")
    assert t.sent - calm.sent > 100, "the victim's other ports were not served"
    attack.close()
    assert abi_now(victim.ssh) == abi


@ABIS
@pytest.mark.parametrize("guest", ["pv64", "pvh64"])
def test_spurious_events(dom0, start_guest, load, tool, row, metric, storm_seconds, guest, abi):
    """Back ends that notify without reason: Linux delays re-enabling such ports more and more, but no others.

    dom0 floods a guest's console, xenstore and network. Meanwhile events inside that guest and between dom0
    and another guest continue; afterwards the flooded devices work.
    """
    words = {"kind": guest, "abi": abi, "memory_mib": MEMORY, "max_event_channels": CHANNELS}
    g, other = (start_guest(name=name, **words) for name in ("flooded", "other"))
    loads = {
        "inside the flooded guest": load(g, ports=50),
        "dom0 and another guest": load(dom0, other, ports=50),
    }
    count = "awk '/vif|xenbus|hvc/ { n += $2 + $3 } END { print n }' /proc/interrupts"

    def taken():
        return int(g.ssh.run(count, timeout=60).out)

    before = taken()
    for one in loads.values():
        one.go()
    r = tool(
        dom0, "evtchn-spurious", "--domid", g.domid, "--ms", round(storm_seconds * 1000),
        timeout=storm_seconds + 120, beside=[g, other],
    ).result  # fmt: skip
    metric("ports flooded", r.ports)
    metric("spurious events sent", r.sent)
    metric("of them taken by the guest, with those of its own", taken() - before)
    for where, one in loads.items():
        t = one.pause()
        judge_load(row, g, t, where)
        assert t.sent > 100, f"{where}: not served"
        one.close()
    assert r.ports >= 3 and r.sent > 1_000 * r.ports
    assert g.ssh.run("cat /sys/class/net/eth0/carrier", timeout=30).out.strip() == "1"
    s = exchange(g.ssh, dom0, receiver_domid=g.domid, count=1_000, timeout=120).served
    assert (s.seen, s.lost, s.duplicated, s.unknown, s.early) == (1_000, 0, 0, 0, 0)


@pytest.mark.cell(abi="3l")
@pytest.mark.parametrize("guest", ["dom0", "pv64", "pvh64"])
def test_readers_are_woken(dom0, start_guest, tool, metric, storm_seconds, seed, guest):
    """A process that reads one event from /dev/xen/evtchn and sleeps again, as xenstored does, is woken by
    the next event, even if another CPU is handling that one at the same time."""
    where = dom0 if guest == "dom0" else start_guest(
        name="reader", kind=guest, abi="3l", memory_mib=MEMORY, max_event_channels=CHANNELS
    )  # fmt: skip
    ms = round(storm_seconds * 3_000)
    r = tool(where, "evtchn-wakeups", "--ms", ms, "--seed", seed, timeout=ms / 1000 + 120).result
    for name in ("sent", "slept", "missed"):
        metric(name, getattr(r, name))
    assert r.sent == r.seen > 1_000 and not r.unexpected, r
    assert r.slept > 100, "the reader hardly slept"
    assert r.missed == 0, f"{r.missed} of {r.slept} times it slept on with an event to read"
