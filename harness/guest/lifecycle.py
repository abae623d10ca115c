# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a guest in its life: saved, restored, migrated, suspended, rebooted by xl in dom0; or it
goes over to another kernel by itself."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.core.layout import DOM0_ADDRESS, TOOLS_DIR
from harness.core.records import Abi
from harness.guest.protocol import ToolError
from harness.guest.tools import run_tool
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.guest.guest import Guest
    from harness.machine.ssh import SSH

PORT = 8080  # of serve()
_SERVES = "/run/evh-httpd"
# `xl migrate` runs its -s words with the host behind them, here a script that needs no SSH.
_RECEIVE = "/run/evh-receive"


def abi_now(ssh: SSH) -> Abi:
    """The ABI that a kernel uses at this moment, by its test interface in debugfs.

    Raises:
        CommandFailed: it has none. MachineLost.
    """
    return Abi(ssh.run("cat /sys/kernel/debug/xen_evtchn_test/abi", timeout=30).out.strip())


def save(guest: Guest, path: str) -> None:
    """Save it to a file in dom0; it is gone then.

    Raises:
        CommandFailed: with xl's words. MachineLost.
    """
    _xl(guest, f"save {_name(guest)} {shlex.quote(path)}")


def restore(guest: Guest, path: str) -> None:
    """Start it from that file, and wait until it answers. The file is removed.

    Raises:
        CommandFailed, MachineLost.
    """
    quoted = shlex.quote(path)
    _xl(guest, f"restore {quoted}")
    guest.arrived()
    guest.machine.dom0.run(f"rm -f {quoted}", timeout=60)


def checkpoint(guest: Guest, path: str) -> None:
    """Save it and let it go on: its kernel suspends and the suspend is called off.

    Raises:
        CommandFailed, MachineLost.
    """
    quoted = shlex.quote(path)
    _xl(guest, f"save -c {_name(guest)} {quoted}")
    guest.machine.dom0.run(f"rm -f {quoted}", timeout=60)


def suspend(guest: Guest) -> None:
    """Suspend it to its own memory.

    Raises:
        CommandFailed, MachineLost.
    """
    _xl(guest, f"suspend {_name(guest)}")


def resume(guest: Guest) -> None:
    """The other half of suspend().

    Raises:
        CommandFailed, MachineLost.
    """
    _xl(guest, f"resume {_name(guest)}")


def migrate(guest: Guest) -> None:
    """Migrate it to the host that it is on; needs its memory twice.

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
    """Reboot it, and wait until it answers; its spec has to say ``on_reboot="restart"``.

    Raises:
        CommandFailed, MachineLost.
    """
    since = guest.machine.consoles.next_number
    _xl(guest, f"reboot {_name(guest)}")
    guest.wait_ready(since=since)
    guest.arrived()


def set_vcpus(guest: Guest, count: int) -> None:
    """Plug vCPUs in or out, and wait until its kernel has done so.

    Raises:
        CommandFailed, MachineLost.
    """
    counted = "$(grep -c ^processor /proc/cpuinfo)"
    # A CPU that came is present only; to bring it online is user space's business.
    grow = "for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do echo 1 > $cpu; done 2>/dev/null;"
    before = int(guest.ssh.run(f"echo {counted}", timeout=30).out)
    _xl(guest, f"vcpu-set --ignore-host {_name(guest)} {count}")
    guest.ssh.run(
        f"n=0; until [ {counted} = {count} ]; do {grow if count > before else ''} "
        "n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done",
        timeout=60,
    )


def serve(dom0: SSH) -> None:
    """Have dom0 give its files to its guests by HTTP, at ``DOM0_ADDRESS:PORT``.

    Raises:
        CommandFailed, MachineLost.
    """
    dom0.run(f"[ -e {_SERVES} ] || {{ busybox httpd -p {DOM0_ADDRESS}:{PORT} -h / && touch {_SERVES}; }}", timeout=30)


def fetch(guest: Guest, source: str, target: str) -> None:
    """Copy a file of dom0's into it, by HTTP: SSH takes half a minute for 10 MiB under emulation.

    Args:
        source: its path in dom0, of letters, digits and ``/._-``.

    Raises:
        CommandFailed, MachineLost.
    """
    serve(guest.machine.dom0)
    guest.ssh.run(f"wget -q -O {shlex.quote(target)} http://{DOM0_ADDRESS}:{PORT}{source}", timeout=120)


@contextmanager
def held(ssh: SSH, *, files: int, ports: int, children: int = 0, timeout: float = 600) -> Iterator[int]:
    """A process that holds files of /dev/xen/evtchn, with ports each; it ends after the block.

    Args:
        children: processes that inherit the files, and hold them by themselves.
        timeout: of the block too, seconds at reference speed.

    Yields its number.
    Raises:
        ToolError: it ended before it had them all. MachineLost.
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
    """Xen's count of a domain's open ports, once it is as wanted or has not changed for half a minute.

    Raises:
        ToolError, MachineLost.
    """
    got, same = -1, 0
    while got != want and same < 60:
        last = got
        status = run_tool(dom0, "evtchn-status", "--domid", str(domid), timeout=60)
        got = status.result.open
        same = same + 1 if got == last else 0
        if got != want:
            time.sleep(0.5)
    return got


def load_kernel(guest: Guest, *, crash: bool = False) -> None:
    """Give it its own kernel and user space to go on with, by kexec() or (`crash`) after a panic.

    For a panic it has to have been started with ``crashkernel=``.

    Raises:
        ToolError: its kernel refuses. CommandFailed, MachineLost.
    """
    for file, target in (("bzImage", "/tmp/kernel"), ("guest.cpio.gz", "/tmp/initrd")):
        fetch(guest, f"/opt/evh/{file}", target)
    words = guest.ssh.run("cat /proc/cmdline", timeout=30).out.split()
    words = [word for word in words if not word.startswith("crashkernel=")]
    # Only the PVH entry is told where ACPI's tables are, and Linux does not hand that on.
    rsdp = re.search(r"ACPI: RSDP (0x[0-9A-Fa-f]+)", guest.ssh.run("dmesg", timeout=30).out)
    if rsdp:
        words.append(f"acpi_rsdp={rsdp[1]}")
    if crash:
        # It may begin on any CPU, and waking CPU 0 would reset the machine (docs/admin-guide/kdump).
        words.append("nr_cpus=1")
    args = ("--kernel=/tmp/kernel", "--initrd=/tmp/initrd", f"--args={' '.join(words)}")
    run_tool(guest.ssh, "kexec-self", *args, *(("--crash",) if crash else ()), timeout=120)


def kexec(guest: Guest) -> None:
    """Go over to the kernel loaded, and wait until that answers.

    Raises:
        CommandFailed, MachineLost.
    """
    _leave(guest, f"{TOOLS_DIR}/kexec-self --go")


def panic(guest: Guest, *, cpu: int = 0) -> None:
    """Have its kernel panic on one of its CPUs, and wait until the one loaded for that answers.

    Raises:
        CommandFailed, MachineLost.
    """
    with guest.machine.consoles.expect_crash(guest.layer, "Kernel panic - not syncing: sysrq triggered crash"):
        _leave(guest, f"taskset {1 << cpu:x} sh -c 'echo c > /proc/sysrq-trigger'")


def _leave(guest: Guest, command: str) -> None:
    """Have a command run that does not end, and wait for the kernel that comes after it."""
    since = guest.machine.consoles.next_number
    guest.ssh.run(f"(sleep 0.5; {command}) </dev/null >/dev/console 2>&1 &", timeout=30)
    if KINDS[guest.spec.kind].type == "pvh":
        _soft_reset(guest)
    guest.wait_ready(since=since)
    guest.arrived()


def _soft_reset(guest: Guest) -> None:
    """What libxl does for a guest of type HVM that goes over to another kernel, and refuses for PVH.

    Back ends go first: they would write to memory that is the next kernel's.
    """
    shut_down = f"xl list {_name(guest)} | awk 'END {{ exit $5 !~"
    # Whatever its end: why it is another than was wanted is its consoles' to say.
    guest.machine.dom0.run(
        f"n=0; until {shut_down} /s/ }}'; do n=$((n + 1)); [ $n -lt 150 ] || exit; sleep 0.2; done",
        timeout=120, check=False,
    )  # fmt: skip
    guest.watchdog.check()
    devices = f"/local/domain/{guest.domid}/device"
    guest.machine.dom0.run(
        f"{shut_down} /sS/ }}' || {{ echo 'it has not shut down for another kernel' >&2; exit 1; }}; n=0; "
        f"for device in $(xenstore-ls -f {devices} | sed -n 's,/backend = .*,,p'); do "
        "back=$(xenstore-read $device/backend); xenstore-write $device/state 6; "
        'until [ "$(xenstore-read $back/state)" = 6 ]; do '
        "n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done; done",
        timeout=60,
    )
    run_tool(guest.machine.dom0, "soft-reset", "--domid", str(guest.domid), timeout=60)


def _name(guest: Guest) -> str:
    return shlex.quote(guest.spec.name)


def _xl(guest: Guest, words: str) -> None:
    guest.machine.dom0.run(f"xl {words} >&2", timeout=180)
