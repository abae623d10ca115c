# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt without a daemon: the embedded QEMU driver, and its root folder.

libvirt allows one embed root per process, for the process' life ("Cannot open
embedded driver at path ..., already open with path ..."), and one event loop,
registered before the first connection (docs/drvqemu.rst); hence the two
cached functions here.
"""

from __future__ import annotations

import fcntl
import functools
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from harness.core import paths
from harness.core.errors import InfraError, UserError
from harness.machine import reaper

# Read when the library is loaded. Its errors reach us as exceptions, and what
# QEMU says has a log of its own; the rest ("domain is tainted") would go to
# our stderr.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")

import libvirt
import libvirt_qemu

__all__ = ["Hypervisor", "libvirt", "libvirt_qemu", "open_hypervisor", "process_root"]

# As root the driver would change owners, wants virtlogd, cgroups and a mount
# namespace: none of which a bare container has. An ordinary user needs but
# the last line.
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
        connection: libvirt's.
        links: a short folder of this process, without spaces, where a
            machine puts its links and sockets.
        embedded: whether QEMU is ours to reap.
    """

    connection: libvirt.virConnect
    links: Path
    embedded: bool

    def secmodels(self) -> list[str]:
        """Security models that a daemon enforces, e.g. ``dac``, ``apparmor``; none of the embedded driver."""
        if self.embedded:
            return []
        capabilities = ElementTree.fromstring(self.connection.getCapabilities())
        models = (model.text or "none" for model in capabilities.iterfind("host/secmodel/model"))
        return [model for model in models if model != "none"]


@functools.cache
def start_event_loop() -> None:
    """Register libvirt's event loop and run it on a thread, once."""
    libvirt.virEventRegisterDefaultImpl()
    # libvirt prints each error to stderr too; we raise them.
    libvirt.registerErrorHandler(lambda context, error: None, None)

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()


def roots_folder() -> Path:
    """Folder of all our embed roots: short (a socket's path ends at 108
    bytes), ours alone, without spaces.

    Raises: InfraError: somebody else made it.
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
            f"{folder} belongs to somebody else, or others can write to it",
            hint=f"remove {folder}, or set XDG_RUNTIME_DIR to a folder of your own",
        )
    return folder


@functools.cache
def process_root() -> Path:
    """The root of this process: made, locked, and watched over.

    What an earlier process left behind (it was killed, and so was its
    watcher) is reaped first.
    """
    folder = roots_folder()
    reaper.reap_leftovers(folder)
    root = Path(tempfile.mkdtemp(prefix="", dir=folder))
    # Held for the process' life: a root whose lock is free is a leftover.
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
    """Keep libvirt's knowledge of QEMU from run to run.

    Without it each new root asks QEMU for its capabilities again. libvirt
    checks an entry against its own and QEMU's build times.
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
    """Run the calling thread on the host's first CPU meanwhile.

    libvirt 9.0 remembers the host's CPUID with QEMU's capabilities, APIC id
    included: read on another CPU it differs, and QEMU is asked all over again
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
    Raises: InfraError: libvirt cannot be reached. UserError: another host is
        meant.
    """
    if uri and (host := urlsplit(uri).hostname):
        # Images, consoles and dom0's port would all be over there.
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
            hint="install libvirt-daemon-driver-qemu and libvirt-daemon-system; `evh doctor` looks closer"
            if uri is None
            else "see whether `virsh -c URI list` works",
        ) from error
    return Hypervisor(connection=connection, links=root, embedded=uri is None)
