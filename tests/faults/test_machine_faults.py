# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a machine while a test uses it."""

from __future__ import annotations

import pytest
from faults import Fault

CASES = [
    # fault, body of the test, verdict, layer, words of the reason, seconds allowed
    (
        "QEMU is killed (SIGKILL)",
        """
        def test_a(dom0, machine):
            injected(); os.kill(qemu_of(machine), signal.SIGKILL)
            dom0.run("sleep 600", timeout=600)
        """,
        "crash", "qemu", "QEMU ended unexpectedly", 15,
    ),
    (
        "libvirt's event loop ends, then QEMU is killed",
        """
        def test_a(dom0, machine):
            import libvirt
            def ended(): raise SystemExit
            libvirt.virEventRunDefaultImpl = ended
            time.sleep(6)  # the loop wakes every 5 s
            injected(); os.kill(qemu_of(machine), signal.SIGKILL)
            dom0.run("sleep 600", timeout=600)
        """,
        "crash", "qemu", "QEMU ended unexpectedly", 20,
    ),
    (
        "QEMU is stopped (SIGSTOP)",
        """
        def test_a(dom0, machine):
            injected(); os.kill(qemu_of(machine), signal.SIGSTOP)
            dom0.run("true", timeout=5)
        """,
        "hang", "xen", "no answer for", 120,
    ),
    (
        "a guest's kernel panics",
        """
        def test_a(start_guest):
            guest = start_guest(name="a", kind="pv64")
            injected()
            guest.ssh.run("echo c > /proc/sysrq-trigger; sleep 600", timeout=600)
        """,
        "crash", "guest:a", "sysrq triggered crash", 60,
    ),
    (
        "Xen panics (NMI with nmi=fatal)",
        """
        @pytest.mark.machine(memory_mib=1536, dom0_mib=768, xen_args="nmi=fatal")
        def test_a(dom0, machine):
            injected(); machine.monitor.human("nmi")
            dom0.run("sleep 600", timeout=600)
        """,
        "crash", "xen", "FATAL TRAP|Panic on CPU", 30,
    ),
    (
        "dom0's kernel panics",
        """
        def test_a(dom0):
            injected(); dom0.run("echo c > /proc/sysrq-trigger; sleep 600", timeout=600)
        """,
        "crash", "dom0", "sysrq triggered crash", 30,
    ),
    (
        "dom0 hangs (all its CPUs spin)",
        """
        def test_a(dom0):
            injected()
            dom0.run("echo 0 > /sys/devices/system/cpu/cpu1/online; chrt -f 99 sh -c 'while :; do :; done'",
                     timeout=10)
        """,
        "hang", "dom0", "no answer for", 240,
    ),
    (
        "dom0 powers the machine off",
        """
        def test_a(dom0):
            injected(); dom0.run("echo o > /proc/sysrq-trigger; sleep 600", timeout=600)
        """,
        "crash", "dom0", "dom0 powered the machine off", 60,
    ),
    (
        "dom0 reboots the machine",
        """
        def test_a(dom0):
            injected(); dom0.run("echo b > /proc/sysrq-trigger; sleep 600", timeout=600)
        """,
        "crash", "dom0", "dom0 rebooted the machine", 60,
    ),
    (
        "xenstored is killed, then a guest is started",
        """
        def test_a(dom0, start_guest):
            dom0.run("kill -9 $(cat /run/xenstored.pid)", timeout=20)
            injected(); start_guest(name="a", kind="pv64")
        """,
        "hang", "dom0", "xenstored of dom0 ended", 400,
    ),
    (
        "xenconsoled is killed",
        """
        def test_a(dom0, start_guest):
            start_guest(name="a", kind="pv64")
            injected(); dom0.run("kill -9 $(cat /run/xenconsoled.pid)", timeout=20)
        """,
        "error", "guest:a", "xenconsoled of dom0 ended", 240,
    ),
    (
        "the SSH connection to dom0 is cut",
        """
        def test_a(dom0):
            injected()
            dom0.run("kill -9 $PPID; sleep 600", timeout=600)
        """,
        "error", "", "SSH connection to dom0 broke", 30,
    ),
    (
        "a guest floods its console with 100 MB",
        """
        def test_a(start_guest):
            guest = start_guest(name="a", kind="pv64")
            injected()
            flood = "yes $(seq -s, 300) | head -c 100000000 > /dev/console"
            guest.ssh.run(f"timeout 60 sh -c '{flood}'; true", timeout=200)
            guest.ssh.run("echo c > /proc/sysrq-trigger; sleep 600", timeout=600)
        """,
        "crash", "guest:a", "sysrq triggered crash", 400,
    ),
]  # fmt: skip
QUICK = {"the SSH connection to dom0 is cut", "dom0 powers the machine off"}


@pytest.mark.parametrize(
    ("name", "body", "verdict", "layer", "words", "within"),
    [
        pytest.param(*case, id=case[0], marks=[pytest.mark.quick] if case[0] in QUICK else [])
        for case in CASES
    ],
)
def test_fault(
    fault: Fault, name: str, body: str, verdict: str, layer: str, words: str, within: float
) -> None:
    fault.run("run", body=body, timeout=900)
    fault.expect(name, verdict=verdict, layer=layer, words=words, within=within)
