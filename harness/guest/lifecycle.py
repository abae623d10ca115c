# SPDX-License-Identifier: GPL-2.0-or-later
"""Life-cycle operations on guests: save, restore, migrate, suspend, reboot and vCPU hotplug by xl in dom0;
kexec and panic inside the guest; and helpers for their tests.

Each function takes a running Guest or an SSH connection. xl's failures are raised as CommandFailed.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.core.layout import DOM0_ADDRESS, TOOLS_DIR
from harness.core.records import Abi
from harness.guest.protocol import ToolError
from harness.guest.tools import abi_of, run_tool
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.guest.guest import Guest
    from harness.machine.ssh import SSH

PORT = 8080  # of serve()
_SERVES = "/run/evh-httpd"
UNCHANGED = 30.0  # seconds at reference speed, for until_open()
# `xl migrate -s ''` runs the "host" argument as a command; this script receives without SSH.
_RECEIVE = "/run/evh-receive"


def polling(
    ssh: SSH, condition: str, *, seconds: float, every: float, work: str = "", late: str = "exit 1"
) -> str:
    """Shell text that waits until a condition holds.

    Args:
        ssh: where it will run; its machine's time scale multiplies ``seconds``.
        condition: a command whose status is 0 once it holds.
        seconds: how long to wait, at reference speed.
        every: seconds between two attempts.
        work: commands to run after each attempt that failed, each with its semicolon.
        late: the command for when it never held.
    """
    most = math.ceil(seconds * ssh.watchdog.time_scale / every)
    return (
        f"n=0; until {condition}; do {work} n=$((n + 1)); [ $n -lt {most} ] || {late}; sleep {every}; done"
    )


def abi_now(ssh: SSH) -> Abi:
    """The ABI that a kernel uses now, as its test interface in debugfs reports it, or else its log.

    Raises:
        InfraError: neither names one. MachineLost.
    """
    # Whether the series' kernel has the interface, which tells what the log does not, is tested in smoke.
    said = ssh.run("cat /sys/kernel/debug/xen_evtchn_test/abi", timeout=30, check=False)
    return abi_of(ssh) if said.rc else Abi(said.out.strip())


def save(guest: Guest, path: str) -> None:
    """Save the guest to a file in dom0. The domain no longer exists afterwards.

    Raises:
        CommandFailed: carries xl's output. MachineLost.
    """
    _xl(guest, f"save {_name(guest)} {shlex.quote(path)}")


def restore(guest: Guest, path: str, *, max_event_channels: int | None = None) -> None:
    """Restore the guest from a file in dom0, wait until it answers, and remove the file.

    Args:
        max_event_channels: as in xl's configuration; None: as before.

    Raises:
        CommandFailed, MachineLost.
    """
    quoted = shlex.quote(path)
    config = ""
    if max_event_channels is not None:
        config = "/run/evh-restored.cfg "
        was = shlex.quote(f"/run/evh-{guest.spec.name}.cfg")
        line = f"max_event_channels = {max_event_channels}"
        guest.machine.dom0.run(
            f"grep -v ^max_event_channels {was} > {config}&& echo '{line}' >> {config}", timeout=30
        )
    _xl(guest, f"restore {config}{quoted}")
    guest.arrived()
    guest.machine.dom0.run(f"rm -f {quoted}", timeout=60)


def checkpoint(guest: Guest, path: str) -> None:
    """Save the guest but let it continue: its kernel suspends, then the suspend is cancelled.

    Raises:
        CommandFailed, MachineLost.
    """
    quoted = shlex.quote(path)
    _xl(guest, f"save -c {_name(guest)} {quoted}")
    guest.machine.dom0.run(f"rm -f {quoted}", timeout=60)


def suspend(guest: Guest) -> None:
    """Suspend the guest; it stays in memory until resume().

    Raises:
        CommandFailed, MachineLost.
    """
    _xl(guest, f"suspend {_name(guest)}")


def resume(guest: Guest) -> None:
    """Resume a guest that suspend() stopped.

    Raises:
        CommandFailed, MachineLost.
    """
    _xl(guest, f"resume {_name(guest)}")


def migrate(guest: Guest) -> None:
    """Migrate the guest to the same host, which needs twice its memory meanwhile.

    Raises:
        CommandFailed, MachineLost.
    """
    guest.follow(f"{guest.spec.name}--incoming")
    text = "#!/bin/sh\nexec xl migrate-receive\n"
    guest.machine.dom0.run(
        f"printf %s {shlex.quote(text)} > {_RECEIVE} && chmod 755 {_RECEIVE}", timeout=30
    )
    _xl(guest, f"migrate -s '' {_name(guest)} {_RECEIVE}")
    guest.arrived()


def reboot(guest: Guest) -> None:
    """Reboot the guest and wait until it answers. Its spec must have ``on_reboot="restart"``.

    Raises:
        CommandFailed, MachineLost.
    """
    since = guest.machine.consoles.next_number
    _xl(guest, f"reboot {_name(guest)}")
    guest.wait_ready(since=since)
    guest.arrived()


def set_vcpus(guest: Guest, count: int) -> None:
    """Add or remove vCPUs and wait until the guest's kernel has done so.

    Args:
        count: vCPUs to have afterwards.

    Raises:
        CommandFailed, MachineLost.
    """
    counted = "$(grep -c ^processor /proc/cpuinfo)"
    # A new CPU is only present; user space must bring it online.
    grow = "for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do echo 1 > $cpu; done 2>/dev/null;"
    before = int(guest.ssh.run(f"echo {counted}", timeout=30).out)
    _xl(guest, f"vcpu-set --ignore-host {_name(guest)} {count}")
    work = grow if count > before else ""
    guest.ssh.run(
        polling(guest.ssh, f"[ {counted} = {count} ]", seconds=30, every=0.1, work=work), timeout=60
    )


def serve(dom0: SSH) -> None:
    """Start a web server in dom0 that serves its files to the guests at ``DOM0_ADDRESS:PORT``.

    Raises:
        CommandFailed, MachineLost.
    """
    start = f"busybox httpd -p {DOM0_ADDRESS}:{PORT} -h / && touch {_SERVES}"
    dom0.run(f"[ -e {_SERVES} ] || {{ {start}; }}", timeout=30)


def fetch(guest: Guest, source: str, target: str) -> None:
    """Copy a file from dom0 to the guest by HTTP; SSH takes half a minute for 10 MiB under emulation.

    Args:
        source: path in dom0; only letters, digits and ``/._-``.
        target: path in the guest.

    Raises:
        CommandFailed, MachineLost.
    """
    serve(guest.machine.dom0)
    guest.ssh.run(f"wget -q -O {shlex.quote(target)} http://{DOM0_ADDRESS}:{PORT}{source}", timeout=120)


@contextmanager
def held(ssh: SSH, *, files: int, ports: int, children: int = 0, timeout: float = 600) -> Iterator[int]:
    """Run a process that holds open files of /dev/xen/evtchn; it ends when the block does.

    Args:
        files: open files of /dev/xen/evtchn.
        ports: open ports per file.
        children: processes that inherit the files and keep them open.
        timeout: seconds at reference speed, including the block.

    Yields:
        The process's pid.

    Raises:
        ToolError: the process ended before all files and ports were open. MachineLost.
    """
    words = f"--files={files} --ports={ports} --children={children}"
    with ssh.stream(f"exec {TOOLS_DIR}/evtchn-files {words}", timeout=timeout) as stream:
        for line in stream:
            if '"held"' in line:
                yield int(line.split('"pid":')[1].split(",")[0])
                return
        raise ToolError(
            f"ended with status {stream.rc}: {stream.err.strip()}", tool="evtchn-files", where=ssh.name
        )


def until_open(dom0: SSH, want: int, *, domid: int = 0) -> int:
    """Wait until Xen counts `want` open ports in a domain; give up after UNCHANGED seconds without a change.

    Returns:
        Xen's last count.

    Raises:
        ToolError, MachineLost.
    """
    watchdog = dom0.watchdog
    got, since = -1, watchdog.clock()
    while True:
        last = got
        got = int(run_tool(dom0, "evtchn-status", "--domid", str(domid), timeout=60).result.open)
        if got != last:
            since = watchdog.clock()
        if got == want or watchdog.clock() - since >= UNCHANGED * watchdog.time_scale:
            return got
        watchdog.pause(0.5)


def load_kernel(guest: Guest, *, crash: bool = False) -> None:
    """Load the guest's own kernel and initrd for kexec(), or with `crash` for panic().

    With `crash` the guest must have been started with ``crashkernel=``.

    Raises:
        ToolError: the guest's kernel refuses. CommandFailed, MachineLost.
    """
    for file, target in (("bzImage", "/tmp/kernel"), ("guest.cpio.gz", "/tmp/initrd")):
        fetch(guest, f"/opt/evh/{file}", target)
    words = guest.ssh.run("cat /proc/cmdline", timeout=30).out.split()
    words = [word for word in words if not word.startswith("crashkernel=")]
    # Only the PVH entry passes the address of the ACPI tables, and Linux's kexec does not pass it on.
    rsdp = re.search(r"ACPI: RSDP (0x[0-9A-Fa-f]+)", guest.ssh.run("dmesg", timeout=30).out)
    if rsdp:
        words.append(f"acpi_rsdp={rsdp[1]}")
    if crash:
        # The crash kernel may start on any CPU, and waking CPU 0 would reset the machine
        # (docs/admin-guide/kdump).
        words.append("nr_cpus=1")
    args = ("--kernel=/tmp/kernel", "--initrd=/tmp/initrd", f"--args={' '.join(words)}")
    run_tool(guest.ssh, "kexec-self", *args, *(("--crash",) if crash else ()), timeout=120)


def kexec(guest: Guest) -> None:
    """Switch to the loaded kernel and wait until it answers.

    Raises:
        CommandFailed, MachineLost.
    """
    _leave(guest, f"{TOOLS_DIR}/kexec-self --go")


def panic(guest: Guest, *, cpu: int = 0) -> None:
    """Make the guest's kernel panic on one of its CPUs, and wait until the crash kernel answers.

    Raises:
        CommandFailed, MachineLost.
    """
    expected = "Kernel panic - not syncing: sysrq triggered crash"
    with guest.machine.consoles.expect_crash(guest.layer, expected):
        _leave(guest, f"taskset {1 << cpu:x} sh -c 'echo c > /proc/sysrq-trigger'")


def _leave(guest: Guest, command: str) -> None:
    """Run a command that does not return, and wait for the kernel that starts after it."""
    since = guest.machine.consoles.next_number
    guest.ssh.run(f"(sleep 0.5; {command}) </dev/null >/dev/console 2>&1 &", timeout=30)
    if KINDS[guest.spec.kind].type == "pvh":
        _soft_reset(guest)
    guest.wait_ready(since=since)
    guest.arrived()


def _soft_reset(guest: Guest) -> None:
    """Soft reset of a PVH guest for kexec; libxl does this for HVM guests and refuses it for PVH.

    Back ends are closed first, since they would otherwise write to memory of the next kernel.
    """
    shut_down = f"xl list {_name(guest)} | awk 'END {{ exit $5 !~"
    # Any kind of shutdown ends this wait; if it is the wrong one, the consoles say why.
    dom0 = guest.machine.dom0
    wait = polling(dom0, f"{shut_down} /s/ }}'", seconds=30, every=0.2, late="exit")
    dom0.run(wait, timeout=120, check=False)
    guest.watchdog.check()
    devices = f"/local/domain/{guest.domid}/device"
    closed = '[ "$(xenstore-read $back/state)" = 6 ]'
    dom0.run(
        f"{shut_down} /sS/ }}' || {{ echo 'the guest has not shut down for a soft reset' >&2; exit 1; }}; "
        f"for device in $(xenstore-ls -f {devices} | sed -n 's,/backend = .*,,p'); do "
        "back=$(xenstore-read $device/backend); xenstore-write $device/state 6; "
        f"{polling(dom0, closed, seconds=30, every=0.1)}; done",
        timeout=60,
    )
    run_tool(dom0, "soft-reset", "--domid", str(guest.domid), timeout=60)


def _name(guest: Guest) -> str:
    return shlex.quote(guest.spec.name)


def _xl(guest: Guest, words: str) -> None:
    guest.machine.dom0.run(f"xl {words} >&2", timeout=180)
