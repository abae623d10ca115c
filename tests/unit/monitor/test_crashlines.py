# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of crash line, as the sources print it, and lines that are harmless."""

import pytest

from harness.monitor import crashlines

XEN = """
Panic on CPU 0:
Assertion 'rw_is_write_locked(&d->event_lock)' failed at common/event_3l.c:300
Xen BUG at common/event_channel.c:792
Xen WARN at common/event_3l.c:12
FATAL TRAP: vec 6, #UD[0000] IN INTERRUPT CONTEXT
FATAL PAGE FAULT
GENERAL PROTECTION FAULT
DOUBLE FAULT
Early fatal page fault at e008:ffff82d040200000 (cr2=0000000000000000, ec=0000)
CHECKLOCK FAILURE: prev irqsafe: 0, curr irqsafe 1
UBSAN: Undefined behaviour in common/event_3l.c:77:12
Watchdog timer detects that CPU1 is stuck!
"""
ABOUT_A_DOMAIN = """
Domain 3 (vcpu#0) crashed on cpu#1:
Domain 2 reported crashed by domain 0 on cpu#0:
Hardware Dom0 crashed: rebooting machine in 5 seconds.
Hardware Dom0 shutdown: watchdog rebooting machine
Watchdog timer fired for domain 0
Watchdog timer 0 fired for d3
d5v1 Triple fault - invoking HVM shutdown action 1
"""
LINUX = """
[    1.0] Kernel panic - not syncing: Fatal exception
[    1.0] kernel BUG at drivers/xen/events/events_3l.c:99!
[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    1.0] BUG: workqueue lockup - pool cpus=0
[    1.0] PANIC: double fault, error_code: 0x0
[    1.0] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
[    1.0] invalid opcode: 0000 [#1] SMP
[    1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [evtchn-dev:99]
[    1.0] WARNING: CPU: 1 PID: 77 at drivers/xen/events/events_base.c:500 x+0x1/0x2
[    1.0] WARNING: drivers/xen/events/events_base.c:812 at bind+0x1a/0x60, CPU#1: tool/77
[    1.0] WARNING: drivers/xen/evtchn.c:9 at bind+0x1a/0x60 [xen_evtchn], CPU#0: tool of mine/77
[    1.0] WARNING: at bind+0x1a/0x60, CPU#1: tool/77
[    1.0] WARNING: [!port && irq] drivers/xen/evtchn.c:9 at bind+0x1a/0x60, CPU#1: tool/77
[    1.0] WARNING: possible circular locking dependency detected
[    1.0] WARNING: possible recursive locking detected
[    1.0] WARNING: possible irq lock inversion dependency detected
[    1.0] WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected
[    1.0] WARNING: inconsistent lock state
[    1.0] WARNING: Nested lock was not taken
[    1.0] WARNING: bad unlock balance detected!
[    1.0] WARNING: bad contention detected!
[    1.0] WARNING: held lock freed!
[    1.0] WARNING: lock held when returning to user space!
[    1.0] WARNING: evtchn-dev/77 still has locks held!
[    1.0] WARNING: chain_key collision
[    1.0] [ BUG: Invalid wait context ]
[    1.0] BUG: MAX_LOCKDEP_ENTRIES too low!
[    1.0] BUG: scheduling while atomic: swapper/0/0x00000002
[    1.0] WARNING: suspicious RCU usage
[    1.0] INFO: task evtchn-dev:70 blocked for more than 120 seconds.
[    1.0] INFO: task evtchn-dev:70 blocked in I/O wait for more than 120 seconds.
[    1.0] rcu: INFO: rcu_sched self-detected stall on CPU
[    1.0] Watchdog detected hard LOCKUP on cpu 1
[    1.0] UBSAN: shift-out-of-bounds in drivers/xen/events/events_3l.c:10:2
[    1.0] Unable to handle kernel paging request at virtual address 0
[    1.0] Out of memory: Killed process 77 (evtchn-dev)
[    1.0] BUG: KASAN: slab-use-after-free in evtchn_interrupt+0x10/0x90
[    1.0] BUG: sleeping function called from invalid context at mm/page_alloc.c:1
[    1.0] BUG: KASAN: null-ptr-deref in evtchn_interrupt+0x10/0x90
[    1.0] BUG kmalloc-96 (Not tainted): Poison overwritten
[    1.0] unreferenced object 0xffff888003a5c2a0 (size 96):
[    1.0] UBSAN: array-index-out-of-bounds in drivers/xen/events/events_3l.c:10:2
[    1.0] CPU1: Watchdog detected hard LOCKUP on cpu 0
[    1.0] unreferenced object (percpu) 0xffff888003a5c2a0 (size 96):
[    1.0] irq 29: nobody cared (try booting with the "irqpoll" option)
[    1.0] unregister_netdevice: waiting for eth0 to become free. Usage count = 2
[    1.0] Out of memory (oom_kill_allocating_task): Killed process 77 (evtchn-dev)
[    1.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
"""
HARMLESS = """
(XEN) Command line: console=com1 watchdog=0 noreboot
(XEN) watchdog disabled
(XEN) d0v0 Error mfn 00000: rd=d0 od=d[IO] caf=8000000000000001
(XEN) Hardware Dom0 shutdown: rebooting machine
(XEN) Speculative mitigation facilities: panic=no
[    0.1] Kernel command line: root=/dev/vda panic=-1 oops=panic
[    0.1] RETBleed: WARNING: Spectre v2 mitigation leaves CPU vulnerable to RETBleed attacks
[    0.1] EXT4-fs (vda): WARNING: mounting unchecked fs, running e2fsck is recommended
[    0.1] WARNING! power/level is deprecated; use power/control instead
[    0.1] INFO: lockdep is turned off.
[    0.1] INFO: task kworker/0:1:12 is blocked on a mutex likely owned by task tool:77.
[    0.1] rcu: INFO: Stall ended before state dump start
[    0.1] Memory cgroup out of memory: Killed process 77 (tool)
[    0.1] clocksource: Watchdog remote CPU 1 read timed out is not a crash: no
[    0.1] NMI watchdog: Perf NMI watchdog permanently disabled
"""


@pytest.mark.parametrize("line", XEN.strip().splitlines())
def test_xen(line: str) -> None:
    assert crashlines.blame("xen", f"(XEN) {line}") == "xen"
    assert crashlines.blame("xen", f"(XEN) [2026-11-22 10:00:00] {line}") == "xen"


@pytest.mark.parametrize("line", ABOUT_A_DOMAIN.strip().splitlines())
def test_xen_about_a_domain(line: str) -> None:
    whose = crashlines.blame("xen", f"(XEN) {line}")
    assert whose is not None and whose.startswith("dom") and whose != "dom"


@pytest.mark.parametrize("line", LINUX.strip().splitlines())
def test_linux(line: str) -> None:
    assert crashlines.blame("guest:one", line) == "guest:one"


@pytest.mark.parametrize("line", HARMLESS.strip().splitlines())
def test_harmless(line: str) -> None:
    assert crashlines.blame("xen" if crashlines.is_xen(line) else "dom0", line) is None
