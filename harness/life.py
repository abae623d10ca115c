# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to a guest in its life, by xl in dom0: saved, restored, migrated, suspended, rebooted."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.guests import Guest

# `xl migrate` runs its -s words with the host behind them, here a script that needs no SSH.
_RECEIVE = "/run/evh-receive"


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
    _xl(guest, f"vcpu-set {_name(guest)} {count}")
    # `nproc` of busybox counts what the process may use; this is the kernel's own word.
    guest.ssh.run(
        "n=0; until [ $(grep -c ^processor /proc/cpuinfo) = "
        f"{count} ]; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done",
        timeout=60,
    )


def _name(guest: Guest) -> str:
    return shlex.quote(guest.spec.name)


def _xl(guest: Guest, words: str) -> None:
    guest.machine.dom0.run(f"xl {words} >&2", timeout=180)
