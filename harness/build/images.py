# SPDX-License-Identifier: GPL-2.0-or-later
"""The two root file systems: dom0's ext4 image and the guests' initramfs.

There are four steps, each with its own store artifact: keys, rootfs
(mmdebstrap), guest (cpio), dom0 (ext4). So a new tool or kernel costs seconds,
and only a new package list costs a download.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from debian.deb822 import Packages
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from harness.core import process
from harness.core.errors import InfraError, UserError
from harness.core.layout import GUEST_KERNEL, GUEST_RAMDISK, TOOLS_DIR
from harness.source import apt
from harness.store.hashes import digest, sha256_of

SUITE = "trixie"
# The image is sparse: unused space costs neither disk nor mke2fs' time.
DOM0_SIZE = "1G"
# Disk space for making an image, in MiB: the unpacked root and the image.
SPACE_MIB = 1000
# In the root of packages that are only unpacked, so that no status file has them: their archives.
ARCHIVES = "evh-archives"
# Timestamp of every file in an image, so that two builds differ only where
# their content does. Any constant would do.
EPOCH = 1_735_689_600  # 2025-01-01
# Files that no test reads. Leaving them out halves what mke2fs has to copy for each new image.
UNWANTED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/bash-completion/*",
    "/usr/share/zoneinfo/*",
    "/usr/lib/udev/hwdb.d/*",
)


def packages(listing: Path) -> tuple[str, ...]:
    """Package names in ``listing``: one per line, ``#`` starts a comment."""
    lines = (line.split("#")[0].strip() for line in listing.read_text().splitlines())
    return tuple(line for line in lines if line)


def make_keys(dest: Path) -> None:
    """Make two key pairs: one for the user who logs in, one as host key.

    dom0 and all guests share the host key. They are reachable only through the
    loopback interface of one machine, and one known_hosts line covers them all.
    """
    for name in ("id_key", "host_key"):
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        path = dest / name
        path.touch(mode=0o600)
        path.write_bytes(private)
        (dest / f"{name}.pub").write_bytes(public + b" evh\n")


def make_rootfs(
    dest: Path, *, include: Iterable[str], log: Path, variant: str = "apt", arch: str = ""
) -> None:
    """Install packages into ``dest/rootfs.tar`` with mmdebstrap, from the machine's mirror.

    Args:
        variant: mmdebstrap's: ``apt`` makes a bootable root, ``extract`` only unpacks files.
        arch: Debian's name of the architecture; empty: this machine's.

    Raises:
        InfraError: no mirror answers, or it lacks a package.
    """
    extract = variant == "extract"
    mirror = apt.mirror()
    mode = "root" if os.geteuid() == 0 else "unshare"
    argv: list[str | Path] = [
        process.need("mmdebstrap", package="mmdebstrap"),
        f"--mode={mode}",
        f"--variant={variant}",
        *((f"--architectures={arch}",) if arch else ()),
        "--format=tar",
        # Packages that are only unpacked are in no status file; these are what was unpacked.
        *((f'--extract-hook=ls "$1/var/cache/apt/archives" >"$1/{ARCHIVES}"',) if extract else ()),
        f"--include={','.join(include)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNWANTED),
        # Recommended packages would include a device model, systemd and firmware.
        "--aptopt=APT::Install-Recommends false",
        SUITE,
        dest / "rootfs.tar",
    ]
    if mirror is not None:
        argv.append(mirror.line(SUITE))
    # If apt's sources have no Debian archive, mmdebstrap uses its own default.
    process.run(
        argv,
        what=f"get packages with mmdebstrap ({SUITE})",
        env={"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(scratch())},
        log=log,
        hint=f"is the network up, and does the mirror carry {SUITE}? "
        f"{apt.MIRROR_VARIABLE}=URI names another Debian mirror.",
    )
    listed, read = (ARCHIVES, unpacked_ones) if extract else ("var/lib/dpkg/status", installed)
    said = process.run(["tar", "-xOf", dest / "rootfs.tar", f"./{listed}"], what="list the packages")
    (dest / "packages.txt").write_text(read(said))


def installed(status: str) -> str:
    """``package version`` lines out of a dpkg status file: what was resolved, for the record."""
    packages = Packages.iter_paragraphs(status, use_apt_pkg=False)
    return "".join(sorted(f"{one['Package']} {one.get('Version', '')}\n" for one in packages))


def unpacked_ones(archives: str) -> str:
    """The same lines out of the names of the archives that were unpacked."""
    names = [name.removesuffix(".deb").split("_") for name in archives.split() if name.endswith(".deb")]
    return "".join(sorted(f"{package} {unquote(version)}\n" for package, version, _ in names))


@contextmanager
def unpacked(rootfs: Path, dest: Path) -> Iterator[Path]:
    """A temporary directory with the content of ``rootfs`` (a tar), without /dev.

    It is inside ``dest``, an unfinished artifact, so if this run is killed, the
    next one that makes the artifact removes it.
    """
    with tempfile.TemporaryDirectory(dir=dest) as name:
        root = Path(name) / "root"
        root.mkdir()
        extract: list[str | Path] = ["tar", "-C", root, "--exclude=./dev/*", "-xf", rootfs]
        process.run(extract, what="unpack dom0's root")
        yield root


def scratch() -> Path:
    """A directory on disk for a tree of 200 MB; /tmp may be small or in memory.

    The store will not do: mmdebstrap's other user IDs cannot enter a private home directory.

    Raises:
        UserError: no such directory is writable.
    """
    for candidate in (Path("/var/tmp"), Path(tempfile.gettempdir())):
        if os.access(candidate, os.W_OK):
            return candidate
    raise UserError("neither /var/tmp nor the temporary directory is writable")


def make_guest(
    dest: Path,
    *,
    rootfs: Path,
    keys: Path,
    tools: Path | None,
    images: Path,
    modules: Path | None = None,
    programs: Path | None = None,
) -> None:
    """Make the guests' user space, ``dest/guest.cpio.gz``: busybox, dropbear and the in-guest tools.

    Args:
        programs: a tar of another architecture's packages; programs come from it, not from ``rootfs``.
        modules: the kernel's modules, a tar of ``lib/modules``.
        images: the project's ``images/guest`` (init and overlay).
    """
    with unpacked(rootfs, dest) as debian, tempfile.TemporaryDirectory(dir=dest) as name:
        root = Path(name)
        copy_overlay(images / "overlay", root)
        install(images / "init", root / "init", mode=0o755)
        with unpacked(programs, dest) if programs else nullcontext(debian) as source:
            install(source / "usr/bin/busybox", root / "bin/busybox", mode=0o755)
            install(source / "usr/sbin/dropbear", root / "usr/sbin/dropbear", mode=0o755)
            for library, inside in libraries(source, "usr/sbin/dropbear"):
                install(library, root / inside.relative_to("/"), mode=0o755)
        add_keys(root, debian=debian, keys=keys)
        add_tools(root, tools)
        add_modules(root, modules)
        pack_cpio(root, dest / "guest.cpio.gz")


def make_dom0(
    dest: Path,
    *,
    rootfs: Path,
    keys: Path,
    tools: Path | None,
    kernel: Path,
    guest: Path,
    images: Path,
    modules: Path | None = None,
    toolstack: Path | None = None,
) -> None:
    """Make dom0's root, ``dest/dom0.ext4``, which contains the guests' kernel and initramfs.

    Args:
        modules: the kernel's modules, a tar of ``lib/modules``.
        toolstack: a tar with a toolstack to use instead of the packaged one; None: the packaged one.
        images: the project's ``images/dom0`` (init and overlay).

    Raises:
        InfraError: the root lacks a library that a program of the toolstack needs.
    """
    with unpacked(rootfs, dest) as root:
        if toolstack is not None:
            replace_toolstack(root, toolstack)
        copy_overlay(images / "overlay", root)
        # Debian's merged /usr: /sbin is a link to usr/sbin.
        (root / "usr/sbin/init").unlink(missing_ok=True)
        install(images / "init", root / "usr/sbin/init", mode=0o755)
        install(kernel, root / GUEST_KERNEL.lstrip("/"), mode=0o644)
        install(guest, root / GUEST_RAMDISK.lstrip("/"), mode=0o644)
        add_keys(root, debian=root, keys=keys)
        add_tools(root, tools)
        add_modules(root / "usr", modules)
        (root / "proc/xen").mkdir(parents=True, exist_ok=True)
        pack_ext4(root, dest / "dom0.ext4")


def replace_toolstack(root: Path, toolstack: Path) -> None:
    """Remove the files of dom0's packaged toolstack, and unpack another one.

    Libraries stay: a packaged device model may need those of its own version. Those with a stable
    ABI are replaced.

    Raises:
        InfraError: the root lacks a library that a program of the toolstack needs.
    """
    for listing in (root / "var/lib/dpkg/info").glob("xen*-util*.list"):
        for name in listing.read_text().splitlines():
            path = root / name.lstrip("/")
            if path.is_symlink() or path.is_file():
                path.unlink()
    unpack: list[str | Path] = ["tar", "-C", root, "--keep-directory-symlink", "-xf", toolstack]
    process.run(unpack, what="install the toolstack")
    daemons = ("usr/sbin/xenstored", "usr/sbin/xenconsoled")
    for program in ("usr/sbin/xl", *daemons, "usr/lib/xen/bin/xen-init-dom0"):
        libraries(root, program)


def hash_tree(folder: Path) -> str:
    """Hash of the names, executable bits and content of the files in ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(
        "".join(
            f"{path.relative_to(folder)} {path.stat().st_mode & 0o111:o} {sha256_of(path)}\n"
            for path in files
        )
    )


def install(source: Path, target: Path, *, mode: int) -> None:
    """Copy a file with the given mode, creating its directory; follows links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def copy_overlay(overlay: Path, root: Path) -> None:
    """Copy the files of ``overlay`` over those in ``root``."""
    if overlay.is_dir():
        shutil.copytree(overlay, root, dirs_exist_ok=True, symlinks=True)


def add_tools(root: Path, tools: Path | None) -> None:
    """Install the in-guest programs in /opt/evh/tools."""
    target = root / TOOLS_DIR.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    for tool in sorted(tools.iterdir()) if tools else ():
        if tool.is_file() and os.access(tool, os.X_OK):
            install(tool, target / tool.name, mode=0o755)


def add_modules(root: Path, modules: Path | None) -> None:
    """Unpack the kernel's modules, if it has any, into lib/modules."""
    if modules is not None:
        process.run(["tar", "-C", root, "-xf", modules], what="install the modules")


def add_keys(root: Path, *, debian: Path, keys: Path) -> None:
    """Install the host key, converted to dropbear's format, and root's authorized_keys."""
    host_key = root / "etc/dropbear/host_key"
    host_key.parent.mkdir(parents=True, exist_ok=True)
    run_inside(
        debian,
        "usr/bin/dropbearconvert", "openssh", "dropbear", str(keys / "host_key"), str(host_key),
        what="convert the host key",
    )
    host_key.chmod(0o600)
    ssh = root / "root/.ssh"
    ssh.mkdir(parents=True, exist_ok=True)
    for directory in (ssh.parent, ssh):
        directory.chmod(0o700)
    install(keys / "id_key.pub", ssh / "authorized_keys", mode=0o600)


def loader(debian: Path) -> list[str | Path]:
    """Command prefix that runs a program with the unpacked root's loader and libraries, without chroot."""
    return [
        debian / "usr/lib64/ld-linux-x86-64.so.2",
        "--library-path",
        debian / "usr/lib/x86_64-linux-gnu",
    ]


def run_inside(debian: Path, program: str, *args: str, what: str) -> str:
    """Run a dynamically linked program of an unpacked root on this host, without privileges."""
    return process.run([*loader(debian), debian / program, *args], what=what)


def libraries(debian: Path, program: str) -> list[tuple[Path, Path]]:
    """The loader and the shared objects that ``program`` needs, of any architecture.

    Returns:
        Of each the file in the unpacked root, and its path inside the guest.

    Raises:
        InfraError: the root lacks one of them.
    """
    found: dict[Path, Path] = {}
    todo = [debian / program]
    while todo:
        with todo.pop().open("rb") as file:
            segments = list(ELFFile(file).iter_segments())
            interpreters = [s.get_interp_name() for s in segments if isinstance(s, InterpSegment)]
            dynamic = [s for s in segments if isinstance(s, DynamicSegment)]
            tags: list[Any] = [tag for s in dynamic for tag in s.iter_tags("DT_NEEDED")]
        for interpreter in interpreters:
            found[_library(debian, Path(interpreter).name)] = Path(interpreter)
        for name in (str(tag.needed) for tag in tags):
            library = _library(debian, name)
            if library not in found:
                found[library] = Path("/") / library.relative_to(debian)
                todo.append(library)
    return list(found.items())


def _library(debian: Path, name: str) -> Path:
    for path in sorted((debian / "usr/lib").glob(f"*-linux-gnu/{name}")):
        return path
    raise InfraError(f"{name} is not in the unpacked root", hint="a package is missing in its list")


def as_root(argv: list[str]) -> list[str]:
    """Wrap ``argv`` so that it sees files of the current user as owned by root.

    One mapped user ID is enough, so neither /etc/subuid nor newuidmap is needed.
    """
    if os.geteuid() == 0:
        return argv
    unshare = process.need("unshare", package="util-linux")
    return [unshare, "--user", "--map-root-user", *argv]


def set_times(root: Path) -> None:
    """Set all timestamps in ``root`` to EPOCH, including those of links."""
    for directory, names, files in os.walk(root):
        for name in (*names, *files, "."):
            os.utime(Path(directory) / name, (EPOCH, EPOCH), follow_symlinks=False)


def pack_cpio(root: Path, target: Path) -> None:
    """Pack ``root`` into a gzip-compressed newc archive in which root owns all files."""
    set_times(root)
    process.need("cpio", package="cpio")
    process.run(
        ["sh", "-ec", "find . -mindepth 1 -print0 | LC_ALL=C sort -z |"
         ' cpio --null --quiet --reproducible --owner=0:0 -H newc -o | gzip -n -6 >"$1"',
         "sh", target],
        what="pack the guest's initramfs",
        cwd=root,
    )


def pack_ext4(root: Path, target: Path) -> None:
    """Pack ``root`` into a sparse ext4 image in which root owns all files."""
    mke2fs = process.need("mke2fs", package="e2fsprogs")
    with target.open("wb") as image:
        image.truncate(0)
    argv = [
        mke2fs, "-q", "-t", "ext4", "-d", str(root), "-L", "dom0",
        # Only dom0's own kernel reads the image, and each machine discards its copy,
        # so it needs no journal, no reserved blocks and no lazy initialization.
        "-O", "^has_journal", "-m", "0",
        "-E", "root_owner=0:0,lazy_itable_init=0,nodiscard,hash_seed=00000000-0000-4000-8000-000000000001",
        "-U", "00000000-0000-4000-8000-000000000000",
        str(target), DOM0_SIZE,
    ]
    process.run(
        as_root(argv),
        what="make dom0's ext4 image",
        env={"SOURCE_DATE_EPOCH": str(EPOCH), "E2FSPROGS_FAKE_TIME": str(EPOCH)},
    )
