# SPDX-License-Identifier: GPL-2.0-or-later
"""A toolstack out of Xen's own tree, for a hypervisor whose interface dom0's packaged one does not speak.

There are three artifacts: what the tree's headers say (``xen-interfaces``, read
before anything is built), the root in which the toolstack is built
(``rootfs-toolstack``, of dom0's Debian release, so that its programs run in dom0
whatever this host is), and ``toolstack`` itself, a tar that is unpacked over dom0's root.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.build import images
from harness.build.compilers import check_space
from harness.build.recipes import recipe_of, refuse_other
from harness.core import process
from harness.core.errors import InfraError, UserError
from harness.source.interfaces import Interfaces, interfaces_of, misfit, packaged
from harness.source.series import digest_of, prepared
from harness.store.hashes import digest, sha256_of

if TYPE_CHECKING:
    from harness.build.builder import Builder
    from harness.store.artifacts import Artifact, Inputs

KIND = "toolstack"
ROOTFS = "rootfs-toolstack"
INTERFACES = "xen-interfaces"
TAR = "toolstack.tar"
# Disk space for the unpacked root and the objects, in MiB.
SPACE_MIB = 1500

# Files that only the hypervisor is made of, and what no toolstack needs. They are not copied into the root,
# so they cannot be inputs, and an edit of the hypervisor does not build the toolstack again. libxenguest
# compiles some files of xen/common and xen/arch/x86/lib, and configure looks for kernel.c.
_NOT_ITS = re.compile(
    r"(docs|stubdom|automation|misc)/|tools/(golang|tests|fuzz)/"
    r"|xen/(drivers|crypto|test)/|xen/arch/x86/(?!include/|lib/)|xen/arch/(?!x86/)"
    r"|xen/common/(?!libelf/|lz4/|xz/|zstd/|(un\w+|bunzip2|lzo|decompress|kernel)\.[ch]$)"
)
# Objects in a developer's tree that is not a git tree; they may be of another Debian release.
_OBJECTS = re.compile(r"\.(o|opic|a|d|so[.\d]*)$|^config/Tools\.mk$|^tools/(config\.\w+$|pkg-config/)")


class Facts(Interfaces, frozen=True, kw_only=True):
    """What a tree says of itself.

    Attributes:
        sources: hash of the files that the toolstack is made from.
    """

    sources: str


def facts(builder: Builder) -> Facts:
    """The interface versions of the tree that Xen is built from, its series included.

    Raises:
        UserError: the headers do not give them, or a patch does not apply.
        InfraError: the tarball cannot be unpacked.
    """
    recipe, source = builder.wanted["xen"], builder.sources["xen"]
    known: dict[str, str] = {}

    def inputs() -> Inputs:
        known["source"] = digest_of(source, ())
        patches = "".join(sha256_of(patch) for patch in recipe.patches)
        return known | {"series": digest(patches), "recipe": recipe_of(sys.modules[__name__])}

    def make(dest: Path) -> None:
        with prepared(source, recipe.patches, store=builder.store, progress=builder.progress) as tree:
            refuse_other(tree, known["source"])
            said = interfaces_of(tree.path)
            found = Facts(
                version=said.version, domctl=said.domctl, sysctl=said.sysctl, sources=hash_of(tree.path)
            )
        (dest / "facts.json").write_bytes(msgspec.json.encode(found))

    artifact = builder.get(INTERFACES, inputs, make, taken=("source",))
    return msgspec.json.decode((artifact.path / "facts.json").read_bytes(), type=Facts)


def why_needed(builder: Builder, said: Facts) -> str:
    """Why dom0 needs a toolstack out of the tree, in one line; empty if its packaged one does."""
    return misfit(packaged(builder.images), said)


def rootfs(builder: Builder) -> Artifact:
    """Install the root in which the toolstack is built.

    Raises:
        InfraError: no mirror answers, or it lacks a package.
    """
    include = images.packages(builder.images / "toolstack/packages")
    inputs = {
        "packages": " ".join(include),
        "suite": images.SUITE,
        "without": digest(" ".join(images.UNWANTED)),
    }

    def make(dest: Path) -> None:
        check_space(builder.store.root, mib=SPACE_MIB, what="making the toolstack's build root")
        with builder.progress.step("install what builds a toolstack (mmdebstrap)"):
            images.make_rootfs(dest, include=include, log=dest / "build.log")

    return builder.get(ROOTFS, inputs, make)


def make(builder: Builder, said: Facts) -> Artifact:
    """Build the toolstack of Xen's tree.

    Args:
        said: of the same tree.

    Raises:
        UserError: the tree's tools do not compile.
        InfraError: no space, or this host does not let a root be entered.
    """
    recipe, source = builder.wanted["xen"], builder.sources["xen"]
    its_root = rootfs(builder)
    inputs = {
        "tools": said.sources,
        "rootfs": its_root.files["rootfs.tar"],
        "images/toolstack": sha256_of(builder.images / "toolstack/build.sh"),
        "recipe": recipe_of(sys.modules[__name__]),
    }

    def build(dest: Path) -> None:
        check_space(builder.store.root, mib=SPACE_MIB, what="building the toolstack")
        with images.unpacked(its_root.path / "rootfs.tar", dest) as root:
            with prepared(source, recipe.patches, store=builder.store, progress=builder.progress) as tree:
                copy(tree.path, root / "src")
            with builder.progress.step(f"build the toolstack of Xen {said.version}"):
                images.install(builder.images / "toolstack/build.sh", root / "build.sh", mode=0o755)
                enter(root, "/build.sh", str(builder.jobs), log=dest / "build.log")
            pack(root / "out", dest / TAR)

    return builder.get(KIND, inputs, build)


def files_of(tree: Path) -> Iterator[str]:
    """The files and links of a Xen tree that its toolstack is made from, as relative paths in order."""
    for folder, names, files in os.walk(tree):
        names[:] = sorted(name for name in names if name != ".git")
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in sorted((*files, *links)):
            path = (Path(folder) / name).relative_to(tree).as_posix()
            if not _NOT_ITS.match(path) and not _OBJECTS.search(path):
                yield path


def hash_of(tree: Path) -> str:
    """Hash of the names, executable bits and content of these files."""
    total = []
    for name in files_of(tree):
        path = tree / name
        content = str(path.readlink()) if path.is_symlink() else sha256_of(path)
        total.append(f"{name} {path.lstat().st_mode & 0o111:o} {content}\n")
    return digest("".join(total))


def copy(tree: Path, target: Path) -> None:
    """Copy these files."""
    for name in files_of(tree):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree / name, target / name, follow_symlinks=False)


# The devices are this host's, seen through a mount that no other process has. There is no network, so
# nothing can be downloaded that no key knows of.
_ENTER = (
    'mount --rbind /dev "$1/dev"; root=$1; shift;'
    ' exec env -i PATH=/usr/sbin:/usr/bin HOME=/ LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=%d chroot "$root" "$@"'
)


def enter(root: Path, *command: str, log: Path) -> None:
    """Run a program of an unpacked root inside it, as its root user.

    Raises:
        UserError: the program failed.
        InfraError: this host does not let a root be entered.
    """
    unshare = process.need("unshare", package="util-linux")
    process.need("chroot", package="coreutils")
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    alone = [unshare, *mapped, "--mount", "--net"]
    path = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    process.run(
        [*alone, "true"], what="enter the root in which the toolstack is built",
        hint="a container needs CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN), another host user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1).",
    )  # fmt: skip
    process.run(
        [*alone, "sh", "-ec", _ENTER % images.EPOCH, "sh", root, *command],
        what="build the toolstack", log=log, env=path, error=UserError,
        hint="correct the first error above; images/toolstack/build.sh says how it is built.",
    )  # fmt: skip


def pack(folder: Path, target: Path) -> None:
    """Pack what was installed, such that two builds of the same tree give the same bytes."""
    if not (folder / "usr/sbin/xl").is_file():
        raise InfraError("the toolstack that was built has no xl", hint="look at build.log beside it.")
    process.run(
        ["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", f"--mtime=@{images.EPOCH}",
         "-C", folder, "-cf", target, "."],
        what="pack the toolstack",
    )
