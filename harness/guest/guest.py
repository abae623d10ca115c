# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests: xl in dom0 starts them, their consoles are recorded, and SSH reaches them through dom0."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import EvhError, InfraError, UserError
from harness.core.layout import CONSOLE_LOGS, COPIED, GUEST_KERNEL, GUEST_RAMDISK, NETWORK, XL_LOGS
from harness.core.records import GuestSpec, image_of
from harness.guest.follower import Follower
from harness.guest.xlconfig import VIF_SCRIPT, VIF_SCRIPT_TEXT, render_config
from harness.machine.attribution import hung_guest
from harness.machine.ssh import SSH
from harness.monitor.waits import (
    ConsoleLost,
    Crash,
    GuestEnded,
    MachineCrashed,
    MachineLost,
    Watchdog,
    words_of,
)
from harness.plan.guests import KINDS

if TYPE_CHECKING:
    from harness.machine.machine import Machine

_READY = "evh: guest ready"


class Guest:
    """A running guest. A context manager; leaving it destroys the guest.

    Attributes:
        spec: the requested guest.
        domid: its domain ID in Xen.
        ssh: a root shell in the guest.
        layer: its name on consoles and in verdicts, ``guest:<name>``.
        watchdog: ends waits when the guest crashes or ends, or the machine is lost.
        start_seconds: from `xl create` to the first SSH answer; without a network, to the console's "ready".
    """

    def __init__(self, machine: Machine, spec: GuestSpec) -> None:
        self.machine = machine
        self.spec = spec
        self.domid = -1
        self.layer = f"guest:{spec.name}"
        self.watchdog = Watchdog(parent=machine.watchdog)
        self.watchdog.find_hung_layer = lambda: hung_guest(machine, self.layer)
        self.start_seconds = 0.0
        self.timings: dict[str, float] = {}
        self._address = _free_address(machine)
        self._followers: list[Follower] = []
        self._followed: set[str] = set()
        self._closing = False
        self._since = machine.consoles.next_number
        self.ssh = SSH(
            name=self.layer,
            address=(str(self._address), 22),
            keys=machine.keys,
            watchdog=self.watchdog,
            through=machine.dom0,
        )

    @property
    def address(self) -> str:
        """The guest's IPv4 address on dom0's bridge."""
        return str(self._address)

    def start(self) -> Guest:
        """Start the guest and wait until it answers over SSH; one without a network, until it is ready.

        Raises:
            MachineLost. CommandFailed: carries xl's output. UserError: the name or kind cannot be used.
        """
        name = self.spec.name
        if name in self.machine.guests:
            raise UserError(f"a guest named {name!r} is already running", hint="Use another name.")
        config = self._config()
        self.machine.guests[name] = self
        try:
            began = time.monotonic()
            self._follow()
            self._create(config)
            self._mark("xl", began)
            self.wait_ready(since=self._since)
            self._mark("ready", began)
            if self.spec.network:
                self.ssh.connect(timeout=45)
                self.ssh.run("true", timeout=45)
                self._mark("ssh", began)
            self.start_seconds = self.timings.get("ssh", self.timings["ready"])
        except BaseException:
            with contextlib.suppress(EvhError):
                self.destroy()
            raise
        return self

    def wait_ready(self, *, since: int) -> None:
        """Wait until the guest's init prints that it is ready.

        Args:
            since: number of the first console line to consider.

        Raises:
            MachineLost.
        """
        self.machine.consoles.wait_line(
            _READY,
            layer=self.layer,
            since=since,
            watchdog=self.watchdog,
            what=f'"evh: guest ready" from {self.layer}',
            total=90,
            silence=45,
            hint=f"See console-guest-{self.spec.name}.log in {self.machine.run_dir}.",
        )

    def arrived(self) -> None:
        """Look up the domid after a life-cycle operation that may have changed it, and wait for SSH.

        Raises:
            MachineLost. CommandFailed: no domain has this name.
        """
        name = shlex.quote(self.spec.name)
        self.domid = int(self.machine.dom0.run(f"xl domid {name}", timeout=30).out)
        self.machine.consoles.name_domain(self.domid, self.layer)
        self.ssh.close()
        self.ssh.connect(timeout=45)
        self.ssh.run("true", timeout=45)

    def _config(self) -> str:
        kind = KINDS.get(self.spec.kind)
        kernel, ramdisk, args = GUEST_KERNEL, GUEST_RAMDISK, ""
        if component := self.spec.kernel or (kind.component if kind else ""):
            image = image_of(self.machine.built, component)
            dom0, args = self.machine.dom0, image.args
            kernel = copy_to_dom0(dom0, image.kernel)
            ramdisk = copy_to_dom0(dom0, image.initrd) if image.initrd else ""
        return render_config(
            self.spec, address=f"{self._address}/{NETWORK.prefixlen}",
            kernel=kernel, ramdisk=ramdisk, args=args, emulated=self.machine.accelerator.kind == "tcg",
        )

    def _mark(self, what: str, began: float) -> None:
        self.timings[what] = round(time.monotonic() - began, 3)

    def _create(self, config: str) -> None:
        path = shlex.quote(f"/run/evh-{self.spec.name}.cfg")
        name = shlex.quote(self.spec.name)
        done = self.machine.dom0.run(
            f"printf %s {shlex.quote(VIF_SCRIPT_TEXT)} > {VIF_SCRIPT} && chmod 755 {VIF_SCRIPT} && "
            f"cat > {path} && xl create {path} >&2 && xl domid {name}",
            timeout=60,
            stdin=config.encode(),
        )
        self.domid = int(done.out)
        self.machine.consoles.name_domain(self.domid, self.layer)
        # The guest was running before xl returned, so Xen may already have logged a crash of it.
        if crash := self.machine.consoles.find_crash(self.layer, since=self._since):
            self.crashed(crash)

    def _follow(self) -> None:
        """Record the console from the first byte, and watch xl's log for the guest's end."""
        self.follow(self.spec.name)

    def follow(self, name: str) -> None:
        """Follow the files that xenconsoled and xl write for this name; a migrating guest has two names."""
        if name in self._followed:
            return
        self._followed.add(name)
        console = f"{CONSOLE_LOGS}/guest-{name}.log"
        log = f"{XL_LOGS}/xl-{name}.log"
        self._followers += [
            # xenconsoled and xl append to files left by an earlier guest with this name.
            Follower(self.machine, console, self._on_console, self._on_console_end, self._on_console_lost),
            Follower(self.machine, log, self._on_xl_log, lambda: None, self._on_console_lost),
        ]

    def _on_console(self, data: bytes) -> None:
        self.machine.consoles.feed(self.layer, data)

    def _on_console_end(self) -> None:
        self.machine.consoles.end(self.layer)

    def _on_console_lost(self, why: str) -> None:
        # Nobody waits for a guest that is closing, so its last lines are missed by the machine's next waits.
        watchdog = self.machine.watchdog if self._closing else self.watchdog
        watchdog.lose(lambda: ConsoleLost(self.layer, why))

    _xl_text = b""

    def _on_xl_log(self, data: bytes) -> None:
        *lines, self._xl_text = (self._xl_text + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            # xl's own waiter (tools/xl/xl_vmcontrol.c): "Domain 3 has shut
            # down, reason code 0 0x0"; 3 is SHUTDOWN_crash.
            ending = re.search(r"Domain \d+ has shut down, reason code (\d+)", line)
            # Expected: a suspend (2) is always requested and the guest goes on, here or in a new domain;
            # so it does after a soft reset (5, kexec), and after a reboot (1) with on_reboot=restart.
            expected = {2, 5, 1} if self.spec.on_reboot == "restart" else {2, 5}
            if ending and not self._closing and int(ending.group(1)) not in expected:
                self._ended(int(ending.group(1)), line)

    # The guest's end.

    def crashed(self, crash: Crash) -> None:
        """End all waits on this guest: its console or Xen's has a crash line about it."""
        self.watchdog.lose(lambda: self._loss_by(crash))

    def _loss_by(self, crash: Crash) -> MachineCrashed:
        time_scale = self.watchdog.time_scale
        # The rest comes through xenconsoled and a file that is polled about three times a second.
        self.machine.consoles.settle(quiet=1.0 * time_scale, most=5.0 * time_scale)
        full = self.machine.consoles.find_crash(self.layer, since=self._since) or crash
        return MachineCrashed(
            f"{self.layer} crashed: {words_of(full)}",
            crash=full,
            hint=f"See {self.machine.run_dir / 'consoles.log'} for all consoles in order.",
        )

    def _ended(self, code: int, line: str) -> None:
        reasons = {0: "it powered off", 1: "it rebooted", 2: "it suspended", 3: "it crashed"}
        why = reasons.get(code, f"reason code {code}")

        def loss() -> MachineLost:
            found = self.machine.consoles.find_crash(self.layer, since=self._since)
            if found or code == 3:
                return self._loss_by(
                    found
                    or Crash(
                        layer=self.layer,
                        line=line,
                        seconds=self.watchdog.clock() - self.machine.consoles.started,
                        excerpt=self.machine.consoles.tail(self.layer, 40),
                    )
                )
            return GuestEnded(
                f"{self.layer} ended unexpectedly: {why}",
                hint=f"See console-guest-{self.spec.name}.log in {self.machine.run_dir}.",
            )

        self.watchdog.lose(loss)

    def destroy(self) -> None:
        """Destroy the guest and record the last bytes of its console.

        Raises:
            MachineLost: the machine was lost meanwhile.
        """
        if self._closing:
            return
        self._closing = True
        try:
            self.ssh.close()
            if not self.machine.watchdog.lost and self.domid >= 0:
                # The guest may already have ended; that is not an error here.
                self.machine.dom0.run(
                    f"xl destroy {shlex.quote(self.spec.name)}", timeout=60, check=False
                )
        finally:
            self.forget()

    def forget(self) -> None:
        """Release the harness's resources: followers (after a last read), SSH and the name."""
        self._closing = True
        for follower in self._followers:
            follower.stop(drain=not self.machine.watchdog.lost)
        self._followers = []
        self.ssh.close()
        self.watchdog.close()
        if self.machine.guests.get(self.spec.name) is self:
            del self.machine.guests[self.spec.name]

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.destroy()


def copy_to_dom0(dom0: SSH, file: Path) -> str:
    """Copy a file of the store to dom0 unless it is already there. Returns its path in dom0."""
    # The folder of an artifact is named by its key, so equal target names mean equal files.
    target = f"{COPIED}/{file.parent.name[:16]}-{file.name}"
    if dom0.run(f"test -e {target}", timeout=30, check=False).rc:
        dom0.run(f"mkdir -p {COPIED}", timeout=30)
        dom0.put(file.read_bytes(), target)
    return target


def _free_address(machine: Machine) -> ipaddress.IPv4Address:
    taken = {guest.address for guest in machine.guests.values()}
    for host in list(NETWORK.hosts())[9:]:
        if str(host) not in taken:
            assert isinstance(host, ipaddress.IPv4Address)
            return host
    raise InfraError(f"no free address left in {NETWORK}", hint="Destroy some guests first.")

