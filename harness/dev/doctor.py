# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of this host, for `evh doctor`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core import paths
from harness.core.errors import EvhError
from harness.machine.accelerator import choose_accelerator

QEMU = "qemu-system-x86_64"
# A machine has 4 GiB; compilers may run beside it.
_MEMORY_FAIL_MIB, _MEMORY_WARN_MIB = 4096, 10240
# Two source trees, two build trees, images and a few runs.
_DISK_FAIL_GIB, _DISK_WARN_GIB = 6, 12
_SUITE = "trixie"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `evh doctor`.

    Attributes:
        status: ``ok``, ``warn`` (a run may work without it) or ``fail``.
        next_step: how to fix it; empty if ``ok``.
    """

    name: str
    status: str
    text: str
    next_step: str = ""


def doctor(*, store: Path | None = None, root: Path = Path("/")) -> list[Check]:
    """Check everything that a run needs.

    Args:
        store: folder whose disk must have free space; None: the default store.
        root: folder that contains proc, sys and dev.
    """
    place = store or paths.cache()
    checks: list[Callable[[], Check]] = [
        _check_python,
        _check_qemu,
        lambda: _check_program("qemu-img", "qemu-utils", "temporary disks"),
        _check_libvirt,
        lambda: _check_program("mmdebstrap", "mmdebstrap", "dom0's root file system"),
        lambda: _check_program("mke2fs", "e2fsprogs", "dom0's disk image"),
        lambda: _check_program("gcc", "build-essential", "Xen, Linux and the tools"),
        lambda: _check_program("flex", "flex", "Linux's Kconfig"),
        lambda: _check_program("bison", "bison", "Linux's Kconfig"),
        lambda: _check_ccache(),
        lambda: _check_memory(root),
        lambda: _check_disk(place),
        _check_cores,
        lambda: _check_accelerator(root),
        _check_sources,
        _check_unshare,
    ]
    return [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except EvhError as error:
        return Check(name="doctor", status="fail", text=error.message, next_step=error.hint)


def _check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(name="python", status="ok", text=version)


def _check_program(program: str, package: str, purpose: str) -> Check:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path:
        return Check(name=program, status="ok", text=f"{path} ({purpose})")
    return Check(
        name=program,
        status="fail",
        text=f"missing, needed for {purpose}",
        next_step=f"apt install {package}",
    )


def _check_ccache() -> Check:
    if shutil.which("ccache"):
        return Check(name="ccache", status="ok", text="compiler output is cached")
    return Check(
        name="ccache",
        status="warn",
        text="missing: without it, a rebuild after a one-line change takes minutes",
        next_step="apt install ccache",
    )


def _check_qemu() -> Check:
    said = _output_of([QEMU, "--version"])
    found = re.search(r"version (\d+)\.(\d+)\S*", said or "")
    if not found:
        return Check(
            name="qemu", status="fail", text=f"no {QEMU}", next_step="apt install qemu-system-x86"
        )
    version = found.group(0).removeprefix("version ")
    if int(found.group(1)) < 10:
        return Check(
            name="qemu",
            status="warn",
            text=f"{version}: under TCG, 7.2 kills one PVH guest in ten, 10.0 far fewer (troubleshooting.md)",
            next_step="on Debian 12 `make setup` installs 10.0 unless QEMU_BACKPORT=no; not needed with KVM",
        )
    return Check(name="qemu", status="ok", text=version)


# Runs in a separate process: the embedded driver can be opened with only one
# root per process, and a broken driver may crash the process.
_LIBVIRT_PROBE = """
from harness.machine.hypervisor import open_hypervisor
connection = open_hypervisor().connection
number = connection.getLibVersion()
connection.getDomainCapabilities(None, "x86_64", "q35", "qemu", 0)
print(f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}")
"""


def _check_libvirt() -> Check:
    try:
        import libvirt  # noqa: F401
    except ImportError as error:
        return Check(
            name="libvirt",
            status="fail",
            text=f"libvirt-python cannot be loaded: {error}",
            next_step="apt install libvirt-dev pkg-config, then install the project again",
        )
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _LIBVIRT_PROBE],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=paths.CHECKOUT,
        )
    except subprocess.TimeoutExpired:
        return Check(
            name="libvirt",
            status="fail",
            text="the embedded QEMU driver did not answer within 60 s",
            next_step="check that `qemu-system-x86_64 --version` works",
        )
    if probe.returncode:
        words = (probe.stderr.strip().splitlines() or ["the probe died without a message"])[-1]
        return Check(
            name="libvirt",
            status="fail",
            text=f"the embedded QEMU driver does not start: {words}",
            next_step="apt install libvirt-daemon-driver-qemu libvirt-daemon-system (no daemon needs to run)",
        )
    return Check(
        name="libvirt", status="ok", text=f"{probe.stdout.strip()}, embedded QEMU driver, no daemon"
    )


def _check_memory(root: Path) -> Check:
    text = (root / "proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    mib = int(found.group(1)) // 1024 if found else 0
    text = f"{mib / 1024:.1f} GiB available"
    if mib < _MEMORY_FAIL_MIB:
        return Check(
            name="memory",
            status="fail",
            text=f"{text}, less than the smallest machine needs",
            next_step="free some memory, or use a host with 8 GiB or more",
        )
    if mib < _MEMORY_WARN_MIB:
        return Check(
            name="memory",
            status="warn",
            text=f"{text}: `make run` fits, the largest cells of `--suite limits` do not",
            next_step="use a host with 16 GiB for the limits suite",
        )
    return Check(name="memory", status="ok", text=text)


def _check_disk(place: Path) -> Check:
    at = place
    while not at.exists():
        at = at.parent
    gib = shutil.disk_usage(at).free / 2**30
    text = f"{gib:.0f} GiB free at {place}"
    if gib < _DISK_FAIL_GIB:
        return Check(
            name="disk",
            status="fail",
            text=f"{text}, {_DISK_FAIL_GIB} GiB are needed",
            next_step="run `evh clean`, or point XDG_CACHE_HOME to a larger disk",
        )
    if gib < _DISK_WARN_GIB:
        return Check(
            name="disk", status="warn", text=text, next_step=f"{_DISK_WARN_GIB} GiB are recommended"
        )
    return Check(name="disk", status="ok", text=text)


def _check_cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        return Check(
            name="cores",
            status="warn",
            text="1: tests with two vCPUs will be slow",
            next_step="use a host with two cores or more",
        )
    return Check(name="cores", status="ok", text=str(cores))


def _check_accelerator(root: Path) -> Check:
    accelerator = choose_accelerator(root=root)
    if accelerator.kind == "kvm":
        more = "" if accelerator.proven else " (the first run verifies it with a trial boot)"
        return Check(name="accelerator", status="ok", text=accelerator.reason + more)
    return Check(
        name="accelerator",
        status="warn",
        text=accelerator.reason,
        next_step="works, but is slower; KVM needs a host with nested virtualisation",
    )


def _check_sources() -> Check:
    """Whether this host's apt can fetch the source packages."""
    from harness.source import apt

    mirror = apt.mirror()
    name = "sources"
    otherwise = "`evh run` will use upstream tarballs instead, or pass --xen-tree and --linux-tree"
    if mirror is None:
        return Check(
            name=name, status="warn", text="apt has no Debian archive configured", next_step=otherwise
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "InRelease"
        said = _output_of(
            [
                "/usr/lib/apt/apt-helper",
                *("-o", "Acquire::http::Timeout=8", "-o", "Acquire::https::Timeout=8"),
                *("-o", "Acquire::Retries=0", "-o", f"APT::Sandbox::User={_user()}"),
                "download-file",
                f"{mirror.uri.rstrip('/')}/dists/{_SUITE}/InRelease",
                str(target),
            ],
            timeout=30,
        )
        index = target.read_text(errors="replace") if said is not None and target.exists() else ""
    if "main/source/Sources" not in index:
        return Check(
            name=name,
            status="warn",
            text=f"apt cannot fetch the source index of {_SUITE}",
            next_step=f"check the network and apt's proxy; {otherwise}",
        )
    return Check(name=name, status="ok", text=f"apt can fetch the source packages of {_SUITE}")


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _check_unshare() -> Check:
    """Whether mmdebstrap can work without root."""
    name = "user namespaces"
    if os.getuid() == 0:
        return Check(name=name, status="ok", text="not needed as root")
    if not shutil.which("newuidmap"):
        return Check(
            name=name, status="fail", text="no newuidmap", next_step="apt install uidmap"
        )
    user = _user()
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            lines = []
        if not any(line.startswith((f"{user}:", f"{os.getuid()}:")) for line in lines):
            return Check(
                name=name,
                status="fail",
                text=f"{path} has no line for {user}",
                next_step=f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
    if _output_of(["unshare", "--user", "--map-root-user", "true"]) is None:
        return Check(
            name=name,
            status="fail",
            text="the kernel does not let unprivileged users create user namespaces",
            next_step="sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0",
        )
    return Check(name=name, status="ok", text="newuidmap and a range of subordinate ids are available")


def _output_of(command: Sequence[str], *, timeout: float = 20) -> str | None:
    """Output of a command; None if it is missing, fails or exceeds ``timeout`` seconds."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout

