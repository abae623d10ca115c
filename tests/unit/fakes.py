# SPDX-License-Identifier: GPL-2.0-or-later
"""Fake machine, guest and backends, for tests that need no QEMU.

The consoles are real ``Consoles`` objects that the test feeds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.core.records import Accelerator, Built, GuestSpec, MachineSpec, Source
from harness.monitor.consoles import Consoles
from harness.monitor.waits import MachineCrashed, MachineDied, Watchdog
from harness.run.backends import Backends

BOOT = b"(XEN) Xen version 4.20\n(XEN) *** Serial input to DOM0\nLinux version 6.12\nevh: dom0 ready\n"
PANIC = (
    b"(XEN) ****************************************\n(XEN) Panic on CPU 0:\n(XEN) Assertion 'ok' failed\n"
)


class FakeGuest:
    def __init__(self, machine: FakeMachine, spec: GuestSpec) -> None:
        self.machine, self.spec, self.destroyed = machine, spec, False
        self.layer = f"guest:{spec.name}"
        self.ssh = SimpleNamespace(name=self.layer)
        self.watchdog = Watchdog(parent=machine.watchdog)
        self.say(b"Linux version 6.12\nevh: guest ready\n")

    def say(self, data: bytes) -> None:
        self.machine.consoles.feed(f"guest:{self.spec.name}", data)

    def destroy(self) -> None:
        self.destroyed = True
        self.machine.log.append(f"destroy {self.spec.name}")


class FakeMachine:
    """Boots immediately. All machines of a test share ``log``."""

    def __init__(
        self,
        spec: MachineSpec,
        folder: Path,
        log: list[str],
        *,
        accelerator: Accelerator | None = None,
        at_boot: bytes = BOOT,
    ) -> None:
        self.spec, self.run_dir, self.log, self._at_boot = spec, folder, log, at_boot
        self.accelerator = accelerator or Accelerator(kind="tcg", reason="TCG: a test")
        self.boot_seconds = 0.25
        self.watchdog = Watchdog()
        self.guests: dict[str, FakeGuest] = {}
        self.dom0 = SimpleNamespace(name="dom0", address=("127.0.0.1", 2222))

    def __enter__(self) -> FakeMachine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.log.append("close")
        self.consoles.close()

    def boot(self) -> None:
        self.log.append(f"boot {self.spec.abi} {self.spec.memory_mib}")
        self.consoles = Consoles(self.run_dir)
        self.consoles.feed(Consoles.SERIAL, self._at_boot)
        if crash := self.consoles.find_crash():
            raise MachineCrashed("xen crashed", crash=crash)

    def dies(self) -> None:
        self.watchdog.lose(lambda: MachineDied("QEMU ended by itself: it was killed"))

    def xen_panics(self) -> None:
        self.consoles.feed(Consoles.SERIAL, PANIC)

    def prove_consoles(self, shells: dict[str, Any]) -> None:
        """Believe that every console is recorded."""

    def start_guest(self, spec: GuestSpec) -> FakeGuest:
        self.log.append(f"start {spec.name}")
        self.guests[spec.name] = FakeGuest(self, spec)
        return self.guests[spec.name]


def fake_built() -> Built:
    path = Path("nowhere")
    paths = "xen xen_syms kernel vmlinux dom0_image guest_initrd tools ssh_key host_key"
    built: dict[str, Any] = dict.fromkeys(paths.split(), path)
    return Built(
        **built,
        keys={"xen": "a" * 32},
        hits={"xen": True},
        sources={
            "xen": Source(name="xen", version="4.20.3", origin="apt:trixie:4.20.3-1", sha256="1" * 64),
            "linux": Source(
                name="linux", version="6.12.107", origin="apt:trixie:6.12.107-1", sha256="2" * 64
            ),
        },
    )


def fake_backends(
    log: list[str], *, at_boot: bytes = BOOT, build: Callable[[], Built] = fake_built
) -> Backends:
    return Backends(
        choose=lambda want: Accelerator(kind="tcg", reason="TCG: a test"),
        build=lambda request, progress, components: build(),
        machine=lambda request, built, spec, folder, accelerator, progress: FakeMachine(
            spec, folder, log, accelerator=accelerator, at_boot=at_boot
        ),  # type: ignore[arg-type,return-value]
        xtf=lambda checkout, progress, jobs: checkout,
        kunit=lambda request, progress, kind: Path(kind),
        guest=lambda machine, spec: machine.start_guest(spec),
        hold=lambda machine, folder: log.append("hold"),
    )


def make_host(
    root: Path, *, kvm: bool = True, flags: str = "fpu svm npt", module: str = "kvm_amd", nested: str = "1"
) -> Path:
    """A root folder with the files that tell whether this host's KVM can nest."""
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
    (root / "dev").mkdir()
    if kvm:
        (root / "dev/kvm").touch()
    if module:
        (root / f"sys/module/{module}/parameters").mkdir(parents=True)
        (root / f"sys/module/{module}/parameters/nested").write_text(f"{nested}\n")
    return root
