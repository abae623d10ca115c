# SPDX-License-Identifier: GPL-2.0-or-later
"""Access to a machine that another process keeps up.

``evh boot`` and ``evh run --keep`` keep ``attach.json`` and ``ssh_config`` in
their run folder while the machine is up; ``evh shell`` and plain ``ssh -F``
read them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import UserError
from harness.core.locks import in_use

if TYPE_CHECKING:

    from harness.machine.machine import Machine
    from harness.machine.ssh import SSH

ATTACH_JSON = "attach.json"
SSH_CONFIG = "ssh_config"
HOST_ALIAS = "evh"  # dom0 and the guests share one host key


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Address of an SSH server: dom0's as seen from this host, a guest's as seen from dom0."""

    host: str
    port: int


class AttachRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How to log in to a machine that another process keeps up.

    Attributes:
        pid: the process that keeps the machine up.
        key: path of the private key.
        host_key: path of the public host key.
        endpoints: addresses by name: ``dom0`` and each guest.
    """

    pid: int
    key: str
    host_key: str
    endpoints: dict[str, Endpoint]


@contextmanager
def attachable(machine: Machine, run_dir: Path) -> Iterator[Path]:
    """Let other processes log in while the block runs.

    Yields:
        Path of an ``ssh_config`` with the hosts ``dom0`` and every guest.
    """
    endpoints = {"dom0": Endpoint(host=machine.dom0.address[0], port=machine.dom0.address[1])}
    for name, guest in machine.guests.items():
        endpoints[name] = Endpoint(host=guest.ssh.address[0], port=guest.ssh.address[1])
    record = AttachRecord(
        pid=os.getpid(),
        key=str(machine.built.ssh_key),
        host_key=str(machine.built.host_key),
        endpoints=endpoints,
    )
    config = run_dir / SSH_CONFIG
    known = run_dir / "known_hosts"
    known.write_text(f"{HOST_ALIAS} {Path(record.host_key).read_text().strip()}\n")
    config.write_text(ssh_config(record, known_hosts=known))
    path = run_dir / ATTACH_JSON
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    try:
        yield config
    finally:
        for file in (path, config, known):
            file.unlink(missing_ok=True)


def ssh_config(record: AttachRecord, *, known_hosts: Path) -> str:
    """Text of a config for ``ssh -F``, which reaches guests through dom0."""
    lines = [
        "Host *",
        "  User root",
        f'  IdentityFile "{record.key}"',
        "  IdentitiesOnly yes",
        f'  UserKnownHostsFile "{known_hosts}"',
        f"  HostKeyAlias {HOST_ALIAS}",
        "  LogLevel ERROR",
    ]
    for name, endpoint in record.endpoints.items():
        lines += [f"Host {name}", f"  HostName {endpoint.host}", f"  Port {endpoint.port}"]
        if name != "dom0":
            # dom0's dropbear forwards. ProxyJump would not use this config for the jump.
            lines += [f'  ProxyCommand ssh -F "{known_hosts.with_name(SSH_CONFIG)}" -W %h:%p dom0']
    return "\n".join(lines) + "\n"


def running(runs: Path) -> Iterator[tuple[Path, AttachRecord]]:
    """Machines that are up now, newest first.

    Args:
        runs: folder that holds the run folders.
    """
    for path in sorted(runs.glob(f"*/{ATTACH_JSON}"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=AttachRecord)
        except (OSError, msgspec.DecodeError):
            continue  # being written, or just removed
        if in_use(path.parent):
            yield path.parent, record


def connect(record: AttachRecord, name: str) -> SSH:
    """An SSH connection to ``dom0`` or a guest of a machine that another process keeps up.

    Raises:
        UserError: the machine has no host of that name.
        InfraError: a key cannot be read.
    """
    from harness.machine.ssh import SSH, Keys
    from harness.monitor.waits import Watchdog

    if name not in record.endpoints:
        raise UserError(f"the machine has no {name!r}", hint=f"Known: {', '.join(record.endpoints)}.")
    watchdog = Watchdog()
    keys = Keys.load(private=Path(record.key), host=Path(record.host_key))
    endpoint = record.endpoints["dom0"]
    dom0 = SSH(name="dom0", address=(endpoint.host, endpoint.port), keys=keys, watchdog=watchdog)
    if name == "dom0":
        return dom0
    endpoint = record.endpoints[name]
    address = (endpoint.host, endpoint.port)
    return SSH(name=f"guest:{name}", address=address, keys=keys, watchdog=watchdog, through=dom0)


def hold(machine: Machine, run_dir: Path, *, say: Callable[[str], None] = print) -> None:
    """Keep the machine up and attachable until Ctrl-C.

    Raises:
        MachineLost: the machine went down before that.
    """
    with attachable(machine, run_dir) as config:
        config = Path(os.path.relpath(config))
        for name in ("dom0", *machine.guests):
            say(f"  evh shell {name:<8} or: ssh -F {config} {name}")
        say(f"  consoles: {os.path.relpath(machine.run_dir / 'consoles.log')}")
        say("The machine stays up until Ctrl-C.")
        watchdog = machine.watchdog
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                watchdog.check()
                watchdog.pause(3600)
