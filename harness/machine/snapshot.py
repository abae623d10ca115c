# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots: a machine is booted once, saved, and restored as often as a test wants a clean one.

A snapshot is a folder: the memory and devices as QEMU writes them, dom0's
temporary disk (an overlay of its image), and what the serial port had
transmitted until then. A restored machine begins its consoles with that text,
so they are as complete as a booted machine's, and a crash line in it is
judged again, by today's table and today's known issues.

What two machines must not share is made anew after each restore: dom0's random
numbers, its clock, and the port that is forwarded to its SSH server. Host keys
belong to the store, and dom0 has no machine id. The first SSH connection still
begins with the snapshot's random numbers; it is on this host's loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from harness.core.errors import InfraError
from harness.core.layout import tool_command
from harness.core.records import Accelerator, Built, MachineSpec, dom0_root, image_of, xen_of
from harness.machine import console_proof
from harness.machine.domain import render_domain
from harness.machine.hypervisor import qemu_identity
from harness.machine.qemu import OLDEST, Monitor
from harness.machine.ssh import SSH
from harness.monitor.consoles import Consoles
from harness.monitor.waits import Watchdog

FORMAT = 1
META = "snapshot.json"
SEED_BYTES = 64
# Measures of the CPU's speed, of which the mean counts: one takes 50 ms, and a busy host schedules by less.
MEASURES = 3
# Seconds at reference speed for a command in dom0.
PATIENCE = 60.0


class Machine(Protocol):
    """The part of a machine that is used here."""

    built: Built
    spec: MachineSpec
    accelerator: Accelerator
    uri: str | None
    watchdog: Watchdog
    boot_seconds: float
    slowness: float

    @property
    def dom0(self) -> SSH:
        """SSH into dom0."""

    @property
    def consoles(self) -> Consoles:
        """Every console of the machine."""

    @property
    def monitor(self) -> Monitor:
        """QEMU's monitor."""

    @property
    def disk(self) -> Path:
        """dom0's temporary disk."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a saved machine.

    Attributes:
        made: when it was saved, UTC.
        boot_seconds: of the boot that it was made of.
        slowness: how many times slower than the reference host that boot was; below 1 if it was faster.
        cpu_seconds: what `cpu-speed` took in dom0 right after that boot, on the mean.
    """

    made: str
    boot_seconds: float
    slowness: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A saved machine.

    Attributes:
        folder: holds its files.
    """

    folder: Path
    facts: Facts

    @property
    def memory(self) -> Path:
        """Memory and devices, as QEMU writes them."""
        return self.folder / "memory"

    @property
    def disk(self) -> Path:
        """The overlay of dom0's image; restored machines have another one on top of it."""
        return self.folder / "disk.qcow2"

    @property
    def past(self) -> Path:
        """What the serial port transmitted until the machine was saved."""
        return self.folder / "serial.raw"

    def slowness_now(self, cpu_seconds: float) -> float:
        """How many times slower than the reference host a machine that was just restored runs.

        A restore is too short, and too much of it is work of the host, to be compared with a boot. So the
        boot's measure is kept, and the same loop in dom0, timed after the boot and now, tells how the
        speed has changed. The kernel and Xen are the same, and so are their own costs (debug flavours).

        Args:
            cpu_seconds: what `cpu-speed` takes now.
        """
        return self.facts.slowness * cpu_seconds / self.facts.cpu_seconds


def load(folder: Path) -> Snapshot:
    """The snapshot in a folder.

    Raises: InfraError: there is none that this version understands.
    """
    try:
        facts = msgspec.json.decode((folder / META).read_bytes(), type=Facts)
    except (OSError, msgspec.DecodeError) as error:
        raise InfraError(f"{folder / META} cannot be read: {error}") from error
    return Snapshot(folder=folder, facts=facts)


def unsupported(uri: str | None) -> str:
    """Why QEMU cannot save machines; empty if it can.

    Raises: InfraError: libvirt cannot be reached.
    """
    version = qemu_identity(uri).version
    if version >= OLDEST:
        return ""
    return f"QEMU {'.'.join(map(str, version))} is older than {'.'.join(map(str, OLDEST))}"


def inputs_of(machine: Machine) -> dict[str, str]:
    """What a saved machine depends on, by name, besides the content of ``files_of``.

    Raises: InfraError: libvirt cannot be reached.
    """
    spec, accelerator = machine.spec, machine.accelerator
    qemu = qemu_identity(machine.uri)
    return {
        "format": str(FORMAT),
        # QEMU's command line follows from it and from the two versions.
        "domain": render_domain(
            name="machine", spec=spec, accelerator=accelerator, xen="xen", kernel="kernel",
            initrd="initrd" if spec.dom0_kernel else "", disk="disk", serial="serial",
        ),
        "qemu": qemu.text,
        "libvirt": qemu.libvirt,
        "accelerator": accelerator.kind,
        "host": host_of(accelerator),
    }  # fmt: skip


def files_of(machine: Machine) -> dict[str, Path]:
    """The files that a machine boots from, by name."""
    built, spec = machine.built, machine.spec
    files = {
        "xen": xen_of(built, spec.xen),
        "kernel": built.kernel,
        "dom0": dom0_root(built, spec.dom0_image),
        "host_key": built.host_key,
        "ssh_key": built.ssh_key,
    }
    if spec.dom0_kernel:
        image = image_of(built, spec.dom0_kernel)
        files |= {"kernel": image.kernel, "initrd": image.initrd or Path()}
    return files


def host_of(accelerator: Accelerator, *, root: Path = Path("/")) -> str:
    """The CPU and kernel of this host if machines see them: under KVM."""
    if accelerator.kind != "kvm":
        return ""
    text = (root / "proc/cpuinfo").read_text(errors="replace")
    fields = "vendor_id|cpu family|model|model name|stepping|microcode|flags"
    lines = re.findall(rf"^(?:{fields})\s*:.*$", text, re.MULTILINE)
    return "\n".join([platform.release(), platform.version(), *sorted(set(lines))])


def save(machine: Machine, folder: Path) -> Snapshot:
    """Save a machine that nobody has used since its boot into an empty folder; it goes on afterwards.

    Raises:
        MachineLost: it crashed, or does not go on. InfraError: it cannot be saved.
        OSError: a file cannot be written.
    """
    cpu_seconds = cpu_speed(machine.dom0)
    _log_out(machine)
    machine.monitor.execute("stop")
    try:
        machine.consoles.settle(quiet=0.1, most=2.0)
        facts = Facts(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            boot_seconds=machine.boot_seconds,
            slowness=machine.slowness,
            cpu_seconds=cpu_seconds,
        )
        snapshot = Snapshot(folder=folder, facts=facts)
        machine.monitor.save(snapshot.memory)
        shutil.copyfile(machine.disk, snapshot.disk)
        snapshot.past.write_bytes(machine.consoles.past())
    finally:
        machine.monitor.execute("cont")
    machine.dom0.connect(timeout=PATIENCE)
    # All that was printed before this line has arrived: nothing of the snapshot's past is still to be judged.
    console_proof.prove(machine.consoles, {"dom0": machine.dom0})
    if crash := machine.consoles.find_crash():
        raise InfraError(f"{crash.layer} has crashed: {crash.reason}")
    (folder / META).write_bytes(msgspec.json.format(msgspec.json.encode(facts)))
    return snapshot


def _log_out(machine: Machine) -> None:
    """Close the SSH connection, and wait until its server in dom0 has ended: its peer is not restored."""
    since = machine.consoles.next_number
    words = f"evh: saving this machine at line {since}"
    # The shell's parent is the server. The line arrives on the console, so the way there is empty by then.
    waiter = f"while kill -0 $0; do sleep 0.02; done; echo '<4>{words}' > /dev/kmsg"
    machine.dom0.run(
        f"setsid sh -c {shlex.quote(waiter)} $PPID </dev/null >/dev/null 2>&1 &", timeout=PATIENCE
    )
    machine.dom0.close()
    machine.consoles.wait_line(
        re.escape(words), layer="dom0", since=since, watchdog=machine.watchdog,
        what="dom0 to end its SSH session", total=PATIENCE,
    )  # fmt: skip


def renew(machine: Machine) -> float:
    """Make a restored machine differ from others, prove its console, and time its CPU.

    Returns: what `cpu-speed` took, in seconds.
    Raises: MachineLost; CommandFailed; InfraError: a tool prints something else than its result.
    """
    since = machine.consoles.next_number
    words = f"evh: restored; console at line {since}"
    said = machine.dom0.run(
        f"{tool_command('renew', '--time', str(time.time_ns()))} >&2 && echo '<4>{words}' > /dev/kmsg && "
        + "; ".join([tool_command("cpu-speed")] * MEASURES),
        timeout=PATIENCE,
        stdin=os.urandom(SEED_BYTES),
    )
    machine.consoles.wait_line(
        re.escape(words), layer="dom0", since=since, watchdog=machine.watchdog,
        what="a line that dom0 was told to print", total=PATIENCE,
    )  # fmt: skip
    return _seconds_in(said.out)


def cpu_speed(ssh: SSH) -> float:
    """Seconds that a fixed number of instructions take; the mean of MEASURES.

    Raises: MachineLost; CommandFailed; InfraError: `cpu-speed` prints something else than its result.
    """
    return _seconds_in(ssh.run("; ".join([tool_command("cpu-speed")] * MEASURES), timeout=PATIENCE).out)


def _seconds_in(output: str) -> float:
    """The mean of the results in the output of `cpu-speed`."""
    found: list[float] = []
    for line in output.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            if record["ev"] == "result" and record["ns"] > 0:
                found.append(record["ns"] / 1e9)
    if not found:
        raise InfraError(f"cpu-speed in dom0 printed no result: {output[:200]!r}")
    return sum(found) / len(found)
