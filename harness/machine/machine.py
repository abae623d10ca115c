# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine: libvirt runs QEMU, which boots Xen with a Linux dom0 that answers over SSH."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from harness.core.errors import InfraError, UserError, reason_of
from harness.core.records import Accelerator, Built, MachineSpec, dom0_root, image_of, xen_of
from harness.machine import console_proof, ready, reaper
from harness.machine import snapshot as snapshots
from harness.machine.attribution import hung_dom0
from harness.machine.domain import render_domain
from harness.machine.hypervisor import Hypervisor, libvirt, open_hypervisor
from harness.machine.overlay import make_overlay
from harness.machine.qemu import Monitor
from harness.machine.serial_port import SerialPort
from harness.machine.snapshot import Snapshot
from harness.machine.ssh import SSH, Keys
from harness.monitor.consoles import Consoles
from harness.monitor.knownissues import KnownIssues
from harness.monitor.waits import (
    ConsoleLost,
    Crash,
    DiskLost,
    MachineCrashed,
    MachineDied,
    TimedOut,
    Watchdog,
    time_scale_of,
    watching,
    words_of,
)

# The references for time_scale: seconds from QEMU's start until Xen starts dom0, and to dom0's first answer,
# on the host whose measurements are in docs (2 cores, TCG).
REFERENCE_XEN_SECONDS = 1.5
REFERENCE_BOOT_SECONDS = 10.0
_numbers = itertools.count(1)

# Xen's last lines before dom0 runs, or dom0's first one where Xen says less.
_XEN_BOOTED = r"Serial input to DOM|Freed \d+kB init|Linux version"


class Says(Protocol):
    """The part of core.progress.Progress that a machine uses."""

    def say(self, text: str) -> None:
        """Print one line."""


class Machine:
    """Boots Xen with a Linux dom0, and watches it. A context manager.

    Args:
        built: what to boot.
        spec: size, ABI and arguments of the machine.
        run_dir: gets the consoles and the temporary disk; created if missing.
        accelerator: the run's, which proof.prove() has proven.
        progress: prints messages for the user.
        uri: libvirt URI of this host; None for the embedded driver.

    Attributes:
        known: crashes that the consoles pass over; set before boot().
        boot_seconds: from QEMU's start to dom0's first SSH answer; of a restored machine, those of the boot
            that its snapshot was made of.
        restore_seconds: from QEMU's start to dom0's first SSH answer, if it was restored; else None.
        timings: seconds from QEMU's start to each stage of the boot or the restore, by name.
        slowness: how many times slower than the reference host the boot was; time_scale is never below 1.
        guests: running guests, by name.
        consoles, dom0: available once QEMU has been started.

    Raises: UserError: dom0's memory does not fit the machine's.
    """

    def __init__(
        self,
        built: Built,
        spec: MachineSpec,
        *,
        run_dir: Path,
        accelerator: Accelerator,
        progress: Says,
        uri: str | None = None,
    ) -> None:
        if spec.dom0_mib + 256 > spec.memory_mib:
            raise UserError(
                f"dom0 of {spec.dom0_mib} MiB does not fit a machine of {spec.memory_mib} MiB",
                hint="leave at least 256 MiB for Xen and the guests",
            )
        self.built = built
        self.spec = spec
        self.run_dir = run_dir.absolute()
        self.accelerator = accelerator
        self.progress = progress
        self.known = KnownIssues()
        self.boot_seconds = 0.0
        self.restore_seconds: float | None = None
        self.slowness = 1.0
        self.timings: dict[str, float] = {}
        self.watchdog = Watchdog()
        self.guests: dict[str, Any] = {}  # running, by name; guests add themselves
        self.name = f"evh-{os.getpid()}-{next(_numbers)}"
        self.keys = Keys.load(private=built.ssh_key, host=built.host_key)
        self.uri = uri
        self._stack = ExitStack()
        self._closing = False
        self._consoles: Consoles | None = None
        self._dom0: SSH | None = None
        self._domain: Any = None
        self._monitor: Monitor | None = None
        self._disk = Path()
        self._serial: SerialPort | None = None
        self._links = Path()
        self._ended = threading.Event()
        self._why_ended = ""

    # What a test uses.

    @property
    def consoles(self) -> Consoles:
        """Every console of the machine, from the first byte."""
        if self._consoles is None:
            raise UserError("the machine has no consoles before boot()")
        return self._consoles

    @property
    def dom0(self) -> SSH:
        """SSH into dom0."""
        if self._dom0 is None:
            raise UserError("the machine has no dom0 before boot()")
        return self._dom0

    @property
    def monitor(self) -> Monitor:
        """QEMU's monitor."""
        if self._monitor is None:
            raise UserError("the machine has no monitor before boot()")
        return self._monitor

    @property
    def disk(self) -> Path:
        """dom0's temporary disk."""
        return self._disk

    def boot(self) -> None:
        """Boot, and wait until dom0 answers over SSH.

        Raises: MachineLost; InfraError: QEMU cannot be started.
        """
        started = self.start()
        self._mark("qemu", started)
        self.wait_xen()
        self._mark("xen", started)
        # A first measure of the host's speed, for the rest of the boot. Until then, forty times what the
        # reference host takes.
        try:
            self.consoles.wait_line(
                _XEN_BOOTED, watchdog=self.watchdog, what="Xen to start dom0",
                total=40 * REFERENCE_XEN_SECONDS,
            )  # fmt: skip
        except TimedOut:
            if not ready.answers(self.dom0):
                raise
        self._mark("xen booted", started)
        self.watchdog.time_scale = time_scale_of(self.timings["xen booted"], reference=REFERENCE_XEN_SECONDS)
        silent = ready.wait_dom0(
            self.consoles, self.dom0, watchdog=self.watchdog, hint=f"see {self.run_dir / 'consoles.log'}"
        )
        if silent:
            self.progress.say(f"the console is not recorded any more: {silent}")
        self._mark("dom0", started)
        self.dom0.connect(timeout=60)
        self.dom0.run("true", timeout=60)
        self._mark("ssh", started)
        self.boot_seconds = self.timings["ssh"]
        self.slowness = self.boot_seconds / REFERENCE_BOOT_SECONDS
        self.watchdog.find_hung_layer = lambda: hung_dom0(self)
        self.watchdog.time_scale = time_scale_of(self.boot_seconds, reference=REFERENCE_BOOT_SECONDS)

    def save(self, folder: Path) -> Snapshot:
        """Save the machine, which nobody has used since its boot, into an empty folder; then it goes on.

        Raises: as `snapshot.save`.
        """
        return snapshots.save(self, folder)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where a machine of equal spec and artifacts was saved, and wait until dom0 answers over SSH.

        Raises: MachineLost, InfraError, CommandFailed: it does not come up.
            MachineCrashed: it crashed, now or before it was saved.
        """
        # Until its speed is known: as it was when the snapshot was made.
        self.watchdog.time_scale = max(1.0, snapshot.facts.slowness)
        self.boot_seconds = snapshot.facts.boot_seconds
        started = self.start(snapshot)
        self._mark("qemu", started)
        self.monitor.load(snapshot.memory)
        self._mark("loaded", started)
        self.monitor.execute("cont")
        self.dom0.connect(timeout=60)
        self._mark("connected", started)
        cpu_seconds = snapshots.renew(self)
        self._mark("ssh", started)
        self.restore_seconds = self.timings["ssh"]
        self.slowness = snapshot.slowness_now(cpu_seconds)
        self.watchdog.find_hung_layer = lambda: hung_dom0(self)
        self.watchdog.time_scale = max(1.0, self.slowness)

    def _mark(self, what: str, started: float) -> None:
        self.timings[what] = round(time.monotonic() - started, 3)

    def wait_xen(self, *, total: float = 60) -> None:
        """Wait for Xen's first line.

        Args:
            total: seconds, not scaled: nothing is known of this host's speed yet.
        """
        self.consoles.wait_line(
            r"^\(XEN\) ",
            watchdog=self.watchdog,
            what="Xen's first line",
            total=total,
            hint=f"is {self.built.xen} the unpacked 32-bit ELF? accelerator: {self.accelerator.reason}",
        )

    def prove_consoles(self, shells: Mapping[str, SSH]) -> None:
        """Check that consoles are still recorded (console_proof.py).

        Args:
            shells: of the layers to check.

        Raises: ConsoleLost: one is not. MachineLost.
        """
        console_proof.prove(self.consoles, shells)

    def pause(self, seconds: float) -> None:
        """Let the machine work for so long; ends at once if it, or one of its guests, is lost.

        Args:
            seconds: of real time, not scaled.
        Raises: MachineLost.
        """
        with watching(self.watchdog, *self.guests.values()) as together:
            together.pause(seconds)

    def xen_keys(self, keys: str) -> None:
        """Type debug keys ("dq0") at Xen's serial console, which works even if dom0 hangs.

        Raises: UserError: the machine is not running.
        """
        if self._serial is None or not self._serial.connected:
            raise UserError("the machine is not running")
        toggle = b"\x01" * 3  # pressing CTRL-a three times switches the input to Xen, or back to dom0
        self._serial.send(toggle + keys.encode() + toggle)

    # Starting QEMU.

    def start(self, snapshot: Snapshot | None = None) -> float:
        """Start QEMU without waiting for Xen or dom0, which `boot` and `restore` do.

        Args:
            snapshot: start from its disk, and wait to be told to read its memory.
        Returns: when QEMU was started, in monotonic seconds.
        Raises: InfraError: QEMU cannot be started.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        hypervisor = self._stack.enter_context(self._hypervisor())
        for pid in hypervisor.left:
            self.progress.say(
                f"QEMU of an earlier run (process {pid}) was killed but does not end (state D: it waits in"
                " the kernel); it keeps its memory, and the next run tries again"
            )
        self._links = hypervisor.links / self.name
        self._links.mkdir()
        self._stack.callback(shutil.rmtree, self._links, ignore_errors=True)
        xen = self._link("xen", xen_of(self.built, self.spec.xen))
        kernel = self._link("kernel", self.built.kernel)
        initrd: Path | str = ""
        if self.spec.dom0_kernel:
            image = image_of(self.built, self.spec.dom0_kernel)
            kernel = self._link("dom0-kernel", image.kernel)
            initrd = self._link("initrd", image.initrd or Path())
        self._disk = self._overlay(hypervisor.links, snapshot)
        self._consoles = Consoles(self.run_dir, on_crash=self._crashed, known=self.known)
        self._stack.callback(self._consoles.close)
        if snapshot is not None:
            self._consoles.replay(snapshot.past.read_bytes())
        self._stack.callback(self._keep_qemu_log, hypervisor)
        serial = self._links / "serial"
        feed = functools.partial(self._consoles.feed, Consoles.SERIAL)
        self._serial = SerialPort(
            serial, on_data=feed, ended=self._serial_ended, failed=self._serial_failed
        )
        self._stack.callback(self._serial.close)
        xml = render_domain(
            name=self.name,
            spec=self.spec,
            accelerator=self.accelerator,
            xen=str(xen),
            kernel=str(kernel),
            initrd=str(initrd),
            disk=str(self._disk),
            serial=str(serial),
            secmodels=hypervisor.secmodels(),
            incoming=snapshot is not None,
        )
        (self.run_dir / "domain.xml").write_text(xml)
        ended = functools.partial(self._end, final=True)
        self._stack.enter_context(hypervisor.watched(self.name, ended=ended, disk_failed=self._disk_failed))
        started = time.monotonic()
        self._domain = self._create(hypervisor, xml, paused=snapshot is not None)
        self._stack.callback(self._destroy)
        self._monitor = Monitor(self._domain, self.watchdog)
        address = ("127.0.0.1", self._monitor.forward_ssh())
        self._dom0 = SSH(name="dom0", address=address, keys=self.keys, watchdog=self.watchdog)
        self._stack.callback(self._dom0.close)
        return started

    @contextmanager
    def _hypervisor(self) -> Iterator[Hypervisor]:
        hypervisor = open_hypervisor(self.uri)
        try:
            yield hypervisor
        finally:
            with contextlib.suppress(libvirt.libvirtError):
                hypervisor.connection.close()

    def _link(self, name: str, target: Path) -> Path:
        """A link to `target` whose path is short and contains no space or comma."""
        if not target.exists():
            raise InfraError(f"{target} is missing", hint="it was removed after it was built: evh build")
        link = self._links / name
        link.symlink_to(target.absolute())
        return link

    def _overlay(self, root: Path, snapshot: Snapshot | None) -> Path:
        """A temporary disk on top of dom0's image or of a snapshot's disk, which is not modified."""
        disk = self.run_dir / f"{self.name}.overlay.qcow2"
        with (root / reaper.TRASH).open("a") as trash:  # for the reaper, in case the harness is killed
            trash.write(f"{disk}\n")
        self._stack.callback(disk.unlink, missing_ok=True)  # before: on a full disk, a part of it is left
        if snapshot is not None:
            make_overlay(disk, image=snapshot.disk, format="qcow2")
        else:
            image = dom0_root(self.built, self.spec.dom0_image).absolute()
            make_overlay(disk, image=image, format="raw")
        return disk

    def _create(self, hypervisor: Hypervisor, xml: str, *, paused: bool) -> Any:
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
        if not hypervisor.embedded:
            # A daemon kills the domain when the connection ends. The embedded
            # driver refuses the flag; there the reaper's watcher kills QEMU.
            flags |= libvirt.VIR_DOMAIN_START_AUTODESTROY
        try:
            return hypervisor.connection.createXML(xml, flags)
        except libvirt.libvirtError as error:
            raise InfraError(
                f"libvirt cannot start QEMU: {error}",
                hint=f"the XML is {self.run_dir / 'domain.xml'}; `evh doctor` checks the host",
            ) from error

    # Detecting a loss.

    def _serial_ended(self) -> None:
        self.consoles.end(Consoles.SERIAL)
        self._end("its serial port was closed")

    def _crashed(self, crash: Crash) -> None:
        """End the waits on the layer that a crash line belongs to."""
        if crash.layer.startswith("guest:"):
            guest = self.guests.get(crash.layer.removeprefix("guest:"))
            if guest is not None:
                guest.crashed(crash)
            return
        if re.fullmatch(r"dom\d+", crash.layer) and crash.layer != "dom0":
            return  # not a guest of this machine, or a guest whose domid is not known yet
        self.watchdog.lose(lambda: self._loss_by(crash))

    def _loss_by(self, crash: Crash) -> MachineCrashed:
        # Wait for the rest of the crash message.
        self.consoles.settle(quiet=0.3 * self.watchdog.time_scale, most=2.0 * self.watchdog.time_scale)
        full = self.consoles.find_crash(crash.layer) or crash
        return MachineCrashed(
            words_of(full) if full.meaning else f"{crash.layer} crashed: {words_of(full)}",
            crash=full,
            hint=f"see {self.run_dir / 'consoles.log'}",
        )

    def _disk_failed(self, path: str, reason: str) -> None:
        why = "no space is left there" if reason == "enospc" else reason or "an input or output error"
        self.watchdog.lose(lambda: DiskLost(path, why))

    def _serial_failed(self, error: Exception) -> None:
        self.watchdog.lose(lambda: ConsoleLost("xen and dom0", reason_of(error)))

    def _end(self, why: str, *, final: bool = False) -> None:
        """Record why QEMU ended; `final` if libvirt gave the reason, which replaces the serial port's."""
        if final or not self._why_ended:
            self._why_ended = why
        if final:
            self._ended.set()
        if not self._closing:
            self.watchdog.lose(self._loss_by_death)

    def _loss_by_death(self) -> MachineDied:
        self._ended.wait(2.0)  # libvirt's event follows the closing of the serial port
        log = self._qemu_log_text().strip().splitlines()
        # Only QEMU's messages: the log begins with its command line, which contains its name too.
        errors = [line for line in log if re.search(r"\bqemu-system-\w+: ", line)][-3:]
        return MachineDied(
            f"QEMU ended unexpectedly: {self._why_ended}" + "".join(f"\n  {line}" for line in errors),
            hint=f"see {self.run_dir / 'console-qemu.log'} and consoles.log in the same folder",
        )

    def _qemu_log_path(self) -> Path | None:
        log = self._links.parent / "log" / "qemu" / f"{self.name}.log"
        return log if log.exists() else None

    def _qemu_log_text(self) -> str:
        path = self._qemu_log_path() or self.run_dir / "console-qemu.log"
        with contextlib.suppress(OSError):
            return path.read_text(errors="replace")
        return ""

    def _keep_qemu_log(self, hypervisor: Hypervisor) -> None:
        if hypervisor.embedded and (path := self._qemu_log_path()):
            with contextlib.suppress(OSError):
                shutil.copyfile(path, self.run_dir / "console-qemu.log")

    # Shutting down.

    def _destroy(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            self._domain.destroy()

    def close(self) -> None:
        """Destroy the machine and its temporary disk; keep the logs."""
        self._closing = True
        for guest in list(self.guests.values()):
            guest.forget()
        try:
            self._stack.close()
        finally:
            self.watchdog.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
