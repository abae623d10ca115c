# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt without a daemon: the embedded QEMU driver and its root folder.

libvirt allows a process only one embed root during its life ("Cannot open
embedded driver at path ..., already open with path ..."), and one event loop,
registered before the first connection (docs/drvqemu.rst). Hence the two
cached functions here.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from harness.core import paths
from harness.core.errors import InfraError, UserError
from harness.machine import reaper

# libvirt reads this when it is loaded. Its errors become exceptions, and QEMU's
# messages have their own log; anything else ("domain is tainted") would go to
# stderr.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")

import libvirt
import libvirt_qemu

__all__ = ["Hypervisor", "libvirt", "libvirt_qemu", "open_hypervisor", "process_root", "qemu_identity"]

# As root the driver would change file owners and use virtlogd, cgroups and a
# mount namespace, none of which a minimal container has. An ordinary user needs
# only _QEMU_CONF.
_QEMU_CONF_ROOT = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
"""
_QEMU_CONF = """\
stdio_handler = "file"
max_core = 0
"""


@dataclass(frozen=True, kw_only=True)
class Hypervisor:
    """An open libvirt connection.

    Attributes:
        connection: libvirt's connection object.
        links: folder of this process for the machines' links and sockets; its
            path is short and has no spaces.
        embedded: whether the embedded driver runs QEMU, so that reaper.py must end it.
        left: pids of QEMUs of earlier processes that were killed and do not end.
    """

    connection: libvirt.virConnect
    links: Path
    embedded: bool
    left: tuple[int, ...] = ()

    def secmodels(self) -> list[str]:
        """Security models that a daemon enforces, e.g. ``dac``; none for the embedded driver."""
        if self.embedded:
            return []
        capabilities = ElementTree.fromstring(self.connection.getCapabilities())
        models = (model.text or "none" for model in capabilities.iterfind("host/secmodel/model"))
        return [model for model in models if model != "none"]


    @contextmanager
    def watched(
        self, name: str, *, ended: Callable[[str], object], disk_failed: Callable[[str, str], object]
    ) -> Iterator[None]:
        """Within the block, learn from libvirt what happens to the domain `name`.

        Args:
            ended: called with the reason when QEMU has ended.
            disk_failed: called with a disk's path and libvirt's reason when QEMU cannot write to it, and has
                stopped the machine, which would look like a hang.
        """
        details = {
            libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "it was shut down from within",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "it was destroyed from outside",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "it crashed, or was reset with on_crash=destroy",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "its process died",
        }

        def lifecycle(_: Any, domain: Any, event: int, detail: int, __: Any) -> None:
            if event == libvirt.VIR_DOMAIN_EVENT_STOPPED and domain.name() == name:
                ended(details.get(detail, f"libvirt reports: stopped, detail {detail}"))

        def disk(_: Any, domain: Any, path: str, alias: str, action: int, reason: str, __: Any) -> None:
            if domain.name() == name:
                disk_failed(path, reason)

        events = {
            libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: lifecycle,
            libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON: disk,
        }
        tokens = [self.connection.domainEventRegisterAny(None, *event, None) for event in events.items()]
        try:
            yield
        finally:
            for token in tokens:
                with contextlib.suppress(libvirt.libvirtError):
                    self.connection.domainEventDeregisterAny(token)


@functools.cache
def start_event_loop() -> None:
    """Register libvirt's event loop and run it on a thread, once."""
    libvirt.virEventRegisterDefaultImpl()
    # By default libvirt also prints to stderr the errors that it raises.
    libvirt.registerErrorHandler(lambda context, error: None, None)

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()


def roots_folder() -> Path:
    """Folder of this user's embed roots.

    Its path is short (a socket's path has at most 107 bytes) and without spaces.

    Raises: InfraError: another user owns the folder or can write to it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and len(runtime) < 40 and " " not in runtime and os.access(runtime, os.W_OK):
        folder = Path(runtime) / "evh"
    else:
        folder = Path(tempfile.gettempdir()) / f"evh-{os.getuid()}"
        if len(str(folder)) > 40 or " " in str(folder):
            folder = Path(f"/tmp/evh-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise InfraError(
            f"{folder} belongs to another user, or others can write to it",
            hint=f"remove {folder}, or set XDG_RUNTIME_DIR to a folder that only you can write to",
        )
    return folder


@functools.cache
def reap_earlier() -> tuple[int, ...]:
    """Reap the roots of earlier processes that were killed together with their watchers, once.

    Returns: pids of QEMUs that do not end.
    """
    return tuple(pid for reaped in reaper.reap_leftovers(roots_folder()) for pid in reaped.left)


@functools.cache
def process_root() -> Path:
    """The embed root of this process: created, locked, and removed by a watcher at the end."""
    folder = roots_folder()
    reap_earlier()
    root = Path(tempfile.mkdtemp(prefix="", dir=folder))
    # Held for the life of the process: a root whose lock is free is a leftover.
    lock = os.open(root / reaper.LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    reaper.start_watcher(root)
    conf = root / "etc"
    conf.mkdir()
    text = _QEMU_CONF if os.getuid() else _QEMU_CONF_ROOT + _QEMU_CONF
    (conf / "qemu.conf").write_text(text)
    _share_capabilities_cache(root)
    return root


def _share_capabilities_cache(root: Path) -> None:
    """Share libvirt's cache of QEMU's capabilities between runs.

    Otherwise libvirt queries QEMU again for each new root. libvirt validates an
    entry by its own and QEMU's build times.
    """
    cache = paths.cache() / "libvirt-qemu"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    (root / "cache").mkdir()
    (root / "cache" / "qemu").symlink_to(cache)


@contextmanager
def _on_one_cpu() -> Iterator[None]:
    """Within the block, run the calling thread on the host's first CPU.

    libvirt 9.0 caches the host's CPUID, including the APIC id, with QEMU's
    capabilities. Read on another CPU it differs, so libvirt queries QEMU again
    ("host cpuid changed"), which takes 2 to 4 s.
    """
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


def open_hypervisor(uri: str | None = None) -> Hypervisor:
    """Connect to libvirt.

    Args:
        uri: None for the embedded driver, else any libvirt URI of this host.
    Raises: InfraError: libvirt cannot be reached. UserError: the URI names
        another host.
    """
    if uri and (host := urlsplit(uri).hostname):
        # Images, consoles and dom0's port would be on that host.
        raise UserError(
            f"libvirt on another host ({host}) is not supported",
            hint=f"run evh on {host}",
        )
    root = process_root()
    start_event_loop()
    target = uri or f"qemu:///embed?root={root}"
    try:
        with _on_one_cpu():
            connection = libvirt.open(target)
    except libvirt.libvirtError as error:
        raise InfraError(
            f"libvirt: cannot open {target}: {error}",
            hint="install libvirt-daemon-driver-qemu and libvirt-daemon-system; `evh doctor` gives details"
            if uri is None
            else "check whether `virsh -c URI list` works",
        ) from error
    return Hypervisor(connection=connection, links=root, embedded=uri is None, left=reap_earlier())


@dataclass(frozen=True, kw_only=True)
class QemuIdentity:
    """The QEMU and the libvirt that run a machine.

    Attributes:
        version: of QEMU: major, minor and micro number.
        text: QEMU's program, its version, and what tells another build of the same version.
        libvirt: libvirt's version.
    """

    version: tuple[int, int, int]
    text: str
    libvirt: str


@functools.cache
def qemu_identity(uri: str | None = None) -> QemuIdentity:
    """The QEMU and the libvirt that run machines.

    Raises: InfraError: libvirt cannot be reached, or has no QEMU for x86-64.
    """
    hypervisor = open_hypervisor(uri)
    try:
        number = hypervisor.connection.getVersion()
        capabilities = ElementTree.fromstring(hypervisor.connection.getCapabilities())
        library = str(hypervisor.connection.getLibVersion())
    except libvirt.libvirtError as error:
        raise InfraError(f"libvirt has no QEMU: {error}", hint="apt install qemu-system-x86") from error
    finally:
        hypervisor.connection.close()
    program = capabilities.findtext("guest/arch[@name='x86_64']/emulator") or ""
    version = (number // 1_000_000, number // 1000 % 1000, number % 1000)
    try:
        status = Path(program).stat()
    except OSError as error:
        raise InfraError(f"libvirt's QEMU cannot be found: {error}") from error
    text = f"{program} {'.'.join(map(str, version))} {status.st_size} {status.st_mtime_ns}"
    return QemuIdentity(version=version, text=text, libvirt=library)
