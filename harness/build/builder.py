# SPDX-License-Identifier: GPL-2.0-or-later
"""The Builder: makes each artifact from its sources and from other artifacts, unless the store has it."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from harness.build import images, linux, tools, udb, xen
from harness.build import make as making
from harness.build.compilers import check_space, compiler
from harness.build.kconfig import Misconfigured
from harness.build.recipes import Recipe, kernel_inputs, recipe_of, refuse_other, source_of
from harness.core.progress import Progress
from harness.core.records import Source
from harness.source import bases, series
from harness.source.series import prepared
from harness.store.artifacts import Artifact, Inputs, Store
from harness.store.hashes import digest, sha256_of


class Builder:
    """One build: the store, the recipes of its kernels, and the artifacts made or found so far.

    Attributes:
        wanted: recipe of each kernel, by artifact kind.
        jobs: number of parallel compiler jobs.
        guest_kernel: kind of the guests' kernel; not ``linux`` if dom0 cannot boot that kernel.
    """

    def __init__(
        self,
        *,
        store: Store,
        progress: Progress,
        wanted: dict[str, Recipe],
        jobs: int,
        guest_kernel: str = "linux",
    ) -> None:
        self.store = store
        self.progress = progress
        self.wanted = wanted
        self.jobs = jobs
        self.images = bases.project_root() / "images"
        self.guest_kernel = guest_kernel
        self.artifacts: dict[str, Artifact] = {}
        self.sources: dict[str, Source] = {}

    def get(
        self,
        kind: str,
        inputs: Inputs | Callable[[], Inputs],
        make: Callable[[Path], None],
        *,
        taken: Collection[str] = (),
    ) -> Artifact:
        """Get an artifact from the store, making it if needed, and record it under its kind.

        Args:
            inputs, make, taken: as in ``Store.get``.
        """
        self.artifacts[kind] = self.store.get(kind, inputs, make, self.progress, taken=taken)
        return self.artifacts[kind]

    def source(self, name: str) -> Source:
        """Resolve the source of ``xen`` or ``linux``, and record it."""
        source = source_of(self.wanted[name], store=self.store, progress=self.progress)
        if self.of_xen(name) and udb.used_by(source, store=self.store):
            source = replace(source, note="; ".join(filter(None, (source.note, udb.NOTE))))
        self.sources[name] = source
        return source

    def unpack_ahead(self, name: str, source: Source) -> None:
        """Unpack the tree of the kernel ``name``, unless the store already has that kernel."""
        if source.tree is None and not self.store.has(name, self.inputs(name, source)):
            series.unpack_early(source, store=self.store, progress=self.progress)

    def of_xen(self, name: str) -> bool:
        """Whether ``name`` is a build of Xen."""
        return self.wanted[name].base.file.component == "xen"

    def inputs(self, name: str, source: Source) -> dict[str, str]:
        """Store inputs of the kernel ``name``."""
        module = xen if self.of_xen(name) else linux
        inputs = kernel_inputs(self.wanted[name], source, how=recipe_of(module, making))
        if self.of_xen(name) and udb.used_by(source, store=self.store):
            inputs["udb"] = sha256_of(udb.patch())
        return inputs

    def kernel(self, name: str, source: Source) -> Artifact:
        """Build ``xen``, ``linux`` or another kernel in ``wanted``."""
        recipe = self.wanted[name]
        build: Callable[..., None] = xen.build_xen
        if not self.of_xen(name):
            build = functools.partial(linux.build_linux, arch=recipe.arch)
        space = xen.SPACE_MIB if self.of_xen(name) else linux.SPACE_MIB
        known: dict[str, str] = {}

        def inputs() -> Inputs:
            known.update(self.inputs(name, source))
            return dict(known)

        def make(dest: Path) -> None:
            check_space(self.store.root, mib=space, what=f"building {name}")
            with prepared(
                source, recipe.patches, store=self.store, progress=self.progress
            ) as tree:
                refuse_other(tree, known["source"])
                if "udb" in known:
                    udb.avoid(tree)
                build(
                    tree, dest,
                    requested=recipe.requested(source), jobs=self.jobs, progress=self.progress,
                )  # fmt: skip

        return self.get(name, inputs, make, taken=("source",))

    def misfits(self, name: str) -> tuple[str, ...]:
        """What the kernel ``name`` cannot be configured to have, found out before a compiler runs.

        Empty if the store has the kernel: then its configuration was checked.

        Raises:
            UserError: a patch does not apply, or a fragment has an error.
        """
        recipe, source = self.wanted[name], self.sources[name]
        if self.store.has(name, self.inputs(name, source)):
            return ()
        configure: Callable[..., object] = xen.configure
        if not self.of_xen(name):
            configure = functools.partial(linux.configure, arch=recipe.arch)
        folder = "xen" if self.of_xen(name) else linux.name_of(recipe.arch).replace(" ", "-")
        with (
            prepared(source, recipe.patches, store=self.store, progress=self.progress) as tree,
            making.object_folder(tree, folder) as objects,
            tempfile.TemporaryDirectory() as logs,
        ):
            try:
                configure(
                    tree, objects,
                    requested=recipe.requested(source), log=Path(logs) / "log", jobs=self.jobs,
                    progress=self.progress,
                )  # fmt: skip
            except Misconfigured as error:
                return error.problems
        return ()

    def tools(self) -> Artifact:
        """Build the in-guest tools."""
        folder = self.images / "tools"

        def inputs() -> Inputs:
            return tools.inputs_of(folder) | {"compiler": compiler()}

        def make(dest: Path) -> None:
            with self.progress.step("build the in-guest tools"):
                tools.build_tools(folder, dest)

        return self.get("tools", inputs, make)

    def bare(self) -> Artifact:
        """Build the bare guests."""
        folder = self.images / "bare"

        def inputs() -> Inputs:
            return tools.inputs_of(folder, flags=tools.BARE_FLAGS) | {"compiler": compiler()}

        def make(dest: Path) -> None:
            with self.progress.step("build the bare guests"):
                tools.build_bare(folder, dest)

        return self.get("bare", inputs, make)

    def keys(self) -> Artifact:
        """Make the SSH keys."""
        return self.get("keys", {"scheme": "ed25519"}, images.make_keys)

    def rootfs(self, *, component: str = "") -> Artifact:
        """Install dom0's packages; with a component, also those in ``images/dom0-COMPONENT/packages``."""
        include = images.packages(self.images / "dom0/packages")
        if component:
            include += images.packages(self.images / f"dom0-{component}/packages")
        inputs = {
            "packages": " ".join(include),
            "suite": images.SUITE,
            "without": digest(" ".join(images.UNWANTED)),
        }

        def make(dest: Path) -> None:
            check_space(self.store.root, mib=images.SPACE_MIB, what="making dom0's root")
            with self.progress.step("install dom0's packages (mmdebstrap)"):
                images.make_rootfs(dest, include=include, log=dest / "build.log")

        return self.get(kind("rootfs", component), inputs, make)

    def guest(self) -> Artifact:
        """Make the guests' initramfs from the artifacts made so far."""
        rootfs, keys, tools = (self.artifacts[kind] for kind in ("rootfs", "keys", "tools"))
        kernel = self.artifacts[self.guest_kernel]

        def inputs() -> Inputs:
            return self.common(rootfs, keys, tools, kernel) | {
                "images/guest": images.hash_tree(self.images / "guest")
            }

        def make(dest: Path) -> None:
            with self.progress.step("make the guests' initramfs"):
                images.make_guest(
                    dest,
                    rootfs=rootfs.path / "rootfs.tar", keys=keys.path, tools=tools.path,
                    modules=modules_of(kernel), images=self.images / "guest",
                )  # fmt: skip

        return self.get("guest", inputs, make)

    def dom0(self, *, component: str = "") -> Artifact:
        """Make dom0's disk image, which contains the guests' kernel and initramfs, from the artifacts so far.

        Args:
            component: include the packages of this component too.
        """
        rootfs = self.artifacts[kind("rootfs", component)]
        keys, tools, linux, guest = (self.artifacts[kind] for kind in ("keys", "tools", "linux", "guest"))
        guest_kernel = self.artifacts[self.guest_kernel]
        toolstack = self.artifacts.get("toolstack")

        def inputs() -> Inputs:
            its = {"toolstack": toolstack.files["toolstack.tar"]} if toolstack else {}
            return self.common(rootfs, keys, tools, linux) | its | {
                "images/dom0": images.hash_tree(self.images / "dom0"),
                "kernel": guest_kernel.files["bzImage"],
                "guest": guest.files["guest.cpio.gz"],
            }

        def make(dest: Path) -> None:
            check_space(self.store.root, mib=images.SPACE_MIB, what="making dom0's image")
            with self.progress.step("make dom0's disk image"):
                images.make_dom0(
                    dest,
                    rootfs=rootfs.path / "rootfs.tar", keys=keys.path, tools=tools.path,
                    modules=modules_of(linux), kernel=guest_kernel.path / "bzImage",
                    guest=guest.path / "guest.cpio.gz", images=self.images / "dom0",
                    toolstack=toolstack.path / "toolstack.tar" if toolstack else None,
                )  # fmt: skip

        return self.get(kind("dom0", component), inputs, make)

    @staticmethod
    def common(rootfs: Artifact, keys: Artifact, tools: Artifact, linux: Artifact) -> dict[str, str]:
        """Inputs that dom0's image and the guests' initramfs have in common."""
        programs = {k: v for k, v in tools.files.items() if not k.endswith(".log")}
        return {
            "rootfs": rootfs.files["rootfs.tar"],
            "keys": digest(keys.files["id_key.pub"] + keys.files["host_key"]),
            "tools": digest(str(sorted(programs.items()))),
            "modules": linux.files.get("modules.tar", "none"),
            "recipe": recipe_of(images),
        }


def kind(name: str, component: str) -> str:
    """Kind of an artifact; a component's own variant has the component's name appended."""
    return f"{name}-{component}" if component else name


def modules_of(linux: Artifact) -> Path | None:
    """Tar of the kernel's modules; None if it has none."""
    return linux.path / "modules.tar" if "modules.tar" in linux.files else None

