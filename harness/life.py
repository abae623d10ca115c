# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a guest in its life, by xl in dom0: saved, restored, migrated, suspended, rebooted."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from harness.model import Abi

if TYPE_CHECKING:
    from harness.guests import Guest
    from harness.ssh import SSH

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


def _name(guest: Guest) -> str:
    return shlex.quote(guest.spec.name)


def _xl(guest: Guest, words: str) -> None:
    guest.machine.dom0.run(f"xl {words} >&2", timeout=180)
