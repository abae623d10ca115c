# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests: started by xl in dom0, recorded, reached by SSH through dom0."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from harness.errors import EvhError, InfraError, UserError
from harness.model import KINDS, GuestSpec, image_of
from harness.ssh import SSH, Stream
from harness.suspects import hung_guest
from harness.waits import Crash, GuestEnded, MachineCrashed, MachineLost, Vigil, words_of

if TYPE_CHECKING:
    from harness.machine import Machine

KERNEL = "/opt/evh/bzImage"
RAMDISK = "/opt/evh/guest.cpio.gz"
# What dom0's image does not hold is brought here.
BROUGHT = "/var/lib/evh"
BRIDGE = "xenbr0"
# dom0's bridge is .1 of it (images/dom0/init).
NETWORK = ipaddress.ip_network("192.168.77.0/24")
CONSOLE_LOGS = "/var/log/xen/console"
XL_LOGS = "/var/log/xen"


VIF_SCRIPT = "/run/evh-vif"
# Xen's vif-bridge does the same for every bridge, firewall and MTU there is, in
# bash, by some forty processes; each costs under emulation. netback goes on
# when it reads hotplug-status (drivers/net/xen-netback/xenbus.c).
_VIF_SCRIPT_TEXT = f"""\
#!/bin/sh
if [ "$1" = online ]; then
    ip link set dev "$vif" master {BRIDGE} up || exit 1
    exec xenstore-write "$XENBUS_PATH/hotplug-status" connected
fi
"""

_READY = "evh: guest ready"
# The longest a follower may need at the end for what is still on its way.
_DRAIN_SECONDS = 5.0


def xl_string(text: str) -> str:
    """A string in xl's configuration language (libxlu_cfg.c:xlu__cfgl_dequote).

    Raises: UserError: a control character other than newline and tab.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t")
    if not escaped.isprintable():
        raise UserError(f"not printable, so not for xl's configuration: {text!r}")
    return f'"{escaped}"'


def render_config(
    spec: GuestSpec,
    *,
    address: str,
    kernel: str = KERNEL,
    ramdisk: str = RAMDISK,
    args: str = "",
    emulated: bool = False,
) -> str:
    """xl's configuration of a guest.

    Args:
        address: IPv4 address with prefix length, for its eth0.
        kernel, ramdisk: paths in dom0; an empty one is left out.
        args: more words for its kernel.
        emulated: the machine's CPUs are QEMU's emulation, whose bugs it has to keep clear of.
    Raises: UserError: a kind or a name that cannot be.
    """
    if spec.kind not in KINDS:
        raise UserError(
            f"guest kind {spec.kind!r} is not known", hint=f"known: {', '.join(KINDS)}"
        )
    # It becomes a file name in dom0, and xl takes a bare number for a domid.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,60}", spec.name):
        raise UserError(
            f"guest name {spec.name!r} cannot be",
            hint="a letter, then letters, digits, dots, dashes and underlines",
        )
    words = [
        f"console=hvc0 panic=-1 evh.ip={address} evh.name={spec.name}",
        spec.abi.kernel_args if spec.abi else "",
        args,
        spec.extra_args,
    ]
    kind = KINDS[spec.kind]
    return _templates().get_template("guest.cfg.j2").render(
        spec=spec,
        type=kind.type,
        kernel=kernel,
        ramdisk=ramdisk,
        # 32-bit PAE guests hang under nested paging: their CPUID exits never advance.
        hap=kind.wide or not emulated,
        # An emulated CPU that restores FPU state rewrites flags of the first one (QEMU's cpu_clear_ignne()),
        # and undoes a VMRUN or #VMEXIT in progress there: docs/troubleshooting.md.
        off_cpu0=emulated and kind.type != "pv",
        extra=" ".join(word for word in words if word),
        vif=("type=vif," if kind.type == "hvm" else "") + f"bridge={BRIDGE},script={VIF_SCRIPT}",
    )


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # not a markup language; the filter below quotes
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["xl"] = xl_string
    return environment


class Guest:
    """A running guest. A context manager; leaving it destroys the guest.

    Attributes:
        spec: what was asked for.
        domid: Xen's number of it.
        ssh: a root shell in it.
        layer: its name on consoles and in verdicts, ``guest:<name>``.
        vigil: lost when it crashes or ends, and when the machine is lost.
        start_seconds: from `xl create` to the first SSH answer.
    """

    def __init__(self, machine: Machine, spec: GuestSpec) -> None:
        self.machine = machine
        self.spec = spec
        self.domid = -1
        self.layer = f"guest:{spec.name}"
        self.vigil = Vigil(parent=machine.vigil)
        self.vigil.suspect = lambda: hung_guest(machine, self.layer)
        self.start_seconds = 0.0
        self.timings: dict[str, float] = {}
        self._address = _free_address(machine)
        self._followers: list[_Follower] = []
        self._followed: set[str] = set()
        self._closing = False
        self._since = machine.consoles.next_number
        self.ssh = SSH(
            name=self.layer,
            address=(str(self._address), 22),
            keys=machine.keys,
            vigil=self.vigil,
            through=machine.dom0,
        )

    @property
    def address(self) -> str:
        """Its IPv4 address on dom0's bridge."""
        return str(self._address)

    def start(self) -> Guest:
        """Start it, and wait until it answers over SSH.

        Raises: MachineLost, CommandFailed (xl's words are in it), UserError.
        """
        name = self.spec.name
        if name in self.machine.guests:
            raise UserError(f"a guest {name!r} is running already", hint="take another name")
        config = self._config()
        self.machine.guests[name] = self
        try:
            began = time.monotonic()
            self._follow()
            self._create(config)
            self._mark("xl", began)
            self.wait_ready(since=self._since)
            self._mark("ready", began)
            self.ssh.connect(timeout=45)
            self.ssh.run("true", timeout=45)
            self._mark("ssh", began)
            self.start_seconds = self.timings["ssh"]
        except BaseException:
            with contextlib.suppress(EvhError):
                self.destroy()
            raise
        return self

    def wait_ready(self, *, since: int) -> None:
        """Wait until its init says that it is ready.

        Args:
            since: number of the first console line that counts.
        Raises: MachineLost.
        """
        self.machine.consoles.wait_line(
            _READY,
            layer=self.layer,
            since=since,
            vigil=self.vigil,
            what=f'"evh: guest ready" of {self.layer}',
            total=90,
            silence=45,
            hint=f"see console-guest-{self.spec.name}.log in {self.machine.run_dir}",
        )

    def arrived(self) -> None:
        """Learn its new number after a life event gave it one, and wait until it answers.

        Raises: MachineLost, CommandFailed: there is no domain of its name.
        """
        name = shlex.quote(self.spec.name)
        self.domid = int(self.machine.dom0.run(f"xl domid {name}", timeout=30).out)
        self.machine.consoles.name_domain(self.domid, self.layer)
        self.ssh.close()
        self.ssh.connect(timeout=45)
        self.ssh.run("true", timeout=45)

    def _config(self) -> str:
        kind = KINDS.get(self.spec.kind)
        kernel, ramdisk, args = KERNEL, RAMDISK, ""
        if part := self.spec.kernel or (kind.part if kind else ""):
            image = image_of(self.machine.built, part)
            dom0, args = self.machine.dom0, image.args
            kernel, ramdisk = bring(dom0, image.kernel), bring(dom0, image.initrd) if image.initrd else ""
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
            f"printf %s {shlex.quote(_VIF_SCRIPT_TEXT)} > {VIF_SCRIPT} && chmod 755 {VIF_SCRIPT} && "
            f"cat > {path} && xl create {path} >&2 && xl domid {name}",
            timeout=60,
            stdin=config.encode(),
        )
        self.domid = int(done.out)
        self.machine.consoles.name_domain(self.domid, self.layer)
        # It runs since before xl returned; Xen may have spoken of it already.
        if crash := self.machine.consoles.find_crash(self.layer, since=self._since):
            self.crashed(crash)

    def _follow(self) -> None:
        """Record its console from the first byte, and hear of its end from xl."""
        self.follow(self.spec.name)

    def follow(self, name: str) -> None:
        """Record what xenconsoled and xl will write under a name of it; while it migrates it has two."""
        if name in self._followed:
            return
        self._followed.add(name)
        console = f"{CONSOLE_LOGS}/guest-{name}.log"
        log = f"{XL_LOGS}/xl-{name}.log"
        self._followers += [
            # They append to what an earlier guest of this name left.
            _Follower(self.machine, console, self._heard, self._heard_last),
            _Follower(self.machine, log, self._heard_xl, lambda: None),
        ]

    def _heard(self, data: bytes) -> None:
        self.machine.consoles.feed(self.layer, data)

    def _heard_last(self) -> None:
        self.machine.consoles.end(self.layer)

    _xl_text = b""

    def _heard_xl(self, data: bytes) -> None:
        *lines, self._xl_text = (self._xl_text + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            # xl's own waiter (tools/xl/xl_vmcontrol.c): "Domain 3 has shut
            # down, reason code 0 0x0"; 3 is SHUTDOWN_crash.
            told = re.search(r"Domain \d+ has shut down, reason code (\d+)", line)
            # Who suspends it has asked for that: it goes on, here or elsewhere. So it does after a
            # soft reset (5, in kexec), and after a reboot, if its configuration wants that.
            meant = {2, 5, 1} if self.spec.on_reboot == "restart" else {2, 5}
            if told and not self._closing and int(told.group(1)) not in meant:
                self._ended(int(told.group(1)), line)

    # Its end.

    def crashed(self, crash: Crash) -> None:
        """A crash line on its console, or Xen's words about it: end its waits."""
        self.vigil.lose(lambda: self._loss_by(crash))

    def _loss_by(self, crash: Crash) -> MachineCrashed:
        slowness = self.vigil.slowness
        # It comes by way of xenconsoled, a file, and a look at it thrice a second.
        self.machine.consoles.settle(quiet=1.0 * slowness, most=5.0 * slowness)
        full = self.machine.consoles.find_crash(self.layer, since=self._since) or crash
        return MachineCrashed(
            f"{self.layer} crashed: {words_of(full)}",
            crash=full,
            hint=f"the whole story: {self.machine.run_dir / 'consoles.log'}",
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
                        seconds=self.vigil.clock() - self.machine.consoles.started,
                        excerpt=self.machine.consoles.tail(self.layer, 40),
                    )
                )
            return GuestEnded(
                f"{self.layer} ended by itself: {why}",
                hint=f"see console-guest-{self.spec.name}.log in {self.machine.run_dir}",
            )

        self.vigil.lose(loss)

    def destroy(self) -> None:
        """Destroy it, and let its console's last bytes arrive.

        Raises: MachineLost: the machine was lost meanwhile.
        """
        if self._closing:
            return
        self._closing = True
        try:
            self.ssh.close()
            if not self.machine.vigil.lost and self.domid >= 0:
                # It may be gone by itself: not an error then.
                self.machine.dom0.run(
                    f"xl destroy {shlex.quote(self.spec.name)}", timeout=60, check=False
                )
        finally:
            self.forget()

    def forget(self) -> None:
        """Drop our side of it: its followers, after a last look, and its name."""
        self._closing = True
        for follower in self._followers:
            follower.stop(drain=not self.machine.vigil.lost)
        self._followers = []
        self.ssh.close()
        if self.machine.guests.get(self.spec.name) is self:
            del self.machine.guests[self.spec.name]

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.destroy()


def bring(dom0: SSH, file: Path) -> str:
    """Have a file of the store in dom0, copied at its first use. Returns its path there."""
    # An artifact's folder is its key, so equal names are equal files.
    target = f"{BROUGHT}/{file.parent.name[:16]}-{file.name}"
    if dom0.run(f"test -e {target}", timeout=30, check=False).rc:
        dom0.run(f"mkdir -p {BROUGHT}", timeout=30)
        dom0.put(file.read_bytes(), target)
    return target


class _Follower:
    """Gives what is appended to a file in dom0, from its first byte.

    The file is emptied first; on stop() what came since the last look is
    fetched too.
    """

    def __init__(
        self, machine: Machine, path: str, heard: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._path = path
        self._heard = heard
        self._ended = ended
        quoted = shlex.quote(path)
        # `-F`: xenconsoled makes the file when the guest's console appears.
        # Its number in front tells that the old content is gone too.
        self._stream: Stream = machine.dom0.stream(
            f"rm -f {quoted}; echo $$; exec tail -c +1 -s 0.3 -F {quoted} 2>/dev/null", timeout=1e9
        )
        self._seen = 0
        self._stopping = threading.Event()
        self._pid = self._stream.readline() or ""
        self._thread = threading.Thread(target=self._run, name=f"follow-{path}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(EvhError, OSError):
            while data := self._stream.read():
                self._seen += len(data)
                self._heard(data)

    def stop(self, *, drain: bool) -> None:
        """End; with `drain`, after everything the file holds has been given."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if drain:
            with contextlib.suppress(EvhError, OSError):
                self._drain()
        self._stream.close()
        self._thread.join(timeout=2.0)
        self._ended()

    def _drain(self) -> None:
        """End `tail`, which outlives its channel, and fetch what the file holds beyond what was seen."""
        self._stream.close()
        self._thread.join(timeout=2.0)
        rest = self._machine.dom0.stream(
            f"kill {self._pid}; tail -c +{self._seen + 1} {shlex.quote(self._path)} 2>/dev/null",
            timeout=_DRAIN_SECONDS * 4,
        )
        with rest:
            while data := rest.read():
                self._seen += len(data)
                self._heard(data)


def _free_address(machine: Machine) -> ipaddress.IPv4Address:
    taken = {guest.address for guest in machine.guests.values()}
    for host in list(NETWORK.hosts())[9:]:
        if str(host) not in taken:
            assert isinstance(host, ipaddress.IPv4Address)
            return host
    raise InfraError(f"no free address left in {NETWORK}", hint="destroy some guests first")
