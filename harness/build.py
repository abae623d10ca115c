# SPDX-License-Identifier: GPL-2.0-or-later
"""From bases to everything that a machine needs to boot, out of the store.

Two lanes side by side. One compiles, one kernel at a time; the other waits
for networks and disks (download, unpack, mmdebstrap). The images come last,
they hold the kernel. What is in the store already is not made again.
"""

from __future__ import annotations

import contextvars
import functools
import hashlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from harness import bases, compiling, i386, images, linuxbuild, proc, series, sources, toolbuild, xenbuild
from harness import stock as stock_kernel
from harness.bases import Base
from harness.model import HVM, LINUX, WITHOUT_3L, Built, GuestImage, Source
from harness.progress import Progress
from harness.series import digest_of, prepared
from harness.store import Artifact, Store, digest, sha256_of

RELEASE = "release"
# Flavours of Linux that a PV dom0 cannot boot: of guests alone, beside the release's dom0.
GUESTS_ONLY = ("linux-kasan",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One kernel to build: where its source comes from, what goes on top, and how.

    Attributes:
        tree: a developer's own tree instead of tarball and series.
        stock: leave the series out.
        arch: of Linux, Kbuild's word for it.
    """

    base: Base
    tree: Path | None
    stock: bool
    flavour: str
    arch: str = linuxbuild.X86_64

    @property
    def patches(self) -> tuple[Path, ...]:
        """The series to apply: none on a developer's tree, which is taken as it stands."""
        return () if self.stock or self.tree else self.base.patches()

    @property
    def fragments(self) -> tuple[Path, ...]:
        """Kconfig fragments of the base."""
        return self.base.fragments(flavour=self.flavour, arch=self.arch)


def recipes(
    *,
    xen_tree: Path | None = None,
    linux_tree: Path | None = None,
    stock: bool = False,
    flavour: str = RELEASE,
) -> dict[str, Recipe]:
    """What to build, for ``xen`` and ``linux``; reads the bases, needs no network.

    Args:
        flavour: each base that has fragments for it gets them, the other one is a release: most
            flavours are of Xen, ``linux-debug`` is of Linux.

    Raises:
        UserError: a base.toml is wrong.
    """
    root = bases.project_root()
    wanted: dict[str, Recipe] = {}
    for name, folder, tree in (("xen", bases.XEN_BASE, xen_tree), ("linux", bases.LINUX_BASE, linux_tree)):
        base = bases.load(root / folder)
        its = flavour if base.has(flavour) else RELEASE
        wanted[name] = Recipe(base=base, tree=tree, stock=stock, flavour=its)
    return wanted


def source_of(recipe: Recipe, *, store: Store, progress: Progress) -> Source:
    """The source of one recipe: fetched, or the developer's own.

    Raises:
        UserError: the own tree is none. InfraError: no place has the tarball.
    """
    if recipe.tree is not None:
        return sources.own_tree(recipe.base.file.component, recipe.tree)
    return sources.fetch(recipe.base, store=store, progress=progress)


def sources_of(
    *,
    store: Store,
    progress: Progress,
    xen_tree: Path | None = None,
    linux_tree: Path | None = None,
) -> dict[str, Source]:
    """What the trees were resolved to, by name; fetched where they are not in the store."""
    wanted = recipes(xen_tree=xen_tree, linux_tree=linux_tree)
    return {name: source_of(r, store=store, progress=progress) for name, r in wanted.items()}


def kernel_inputs(recipe: Recipe, source: Source, *, how: str) -> dict[str, str]:
    """The store's inputs for one kernel build.

    Args:
        how: hash of the code that builds it.
    """
    return {
        "source": digest_of(source, ()),
        "series": digest("".join(sha256_of(patch) for patch in recipe.patches)),
        "config": digest("".join(path.read_text() for path in recipe.fragments)),
        "flavour": recipe.flavour,
        "compiler": compiling.compiler(),
        "recipe": how,
    }


def code_of(*modules: object) -> str:
    """Hash of our own modules that make an artifact: another recipe, another artifact."""
    total = hashlib.sha256()
    for module in modules:
        total.update(Path(str(module.__file__)).read_bytes())  # type: ignore[attr-defined]
    return total.hexdigest()


class Builder:
    """One build: knows the store, the lanes, and what each artifact is made of."""

    def __init__(
        self, *, store: Store, progress: Progress, wanted: dict[str, Recipe], jobs: int
    ) -> None:
        self.store = store
        self.progress = progress
        self.wanted = wanted
        self.jobs = jobs
        self.images = bases.project_root() / "images"
        self.artifacts: dict[str, Artifact] = {}
        self.sources: dict[str, Source] = {}

    def get(self, kind: str, inputs: Mapping[str, str], make: Callable[[Path], None]) -> Artifact:
        """An artifact of the store, noted under its kind."""
        self.artifacts[kind] = self.store.get(kind, inputs, make, self.progress)
        return self.artifacts[kind]

    def source(self, name: str) -> Source:
        """The source of ``xen`` or ``linux``."""
        source = source_of(self.wanted[name], store=self.store, progress=self.progress)
        self.sources[name] = source
        return source

    def unpack_ahead(self, name: str, source: Source) -> None:
        """Unpack a tree that will be compiled; nothing if its kernel is in the store."""
        if source.tree is None and not self.store.has(name, self.inputs(name, source)):
            series.unpack_early(source, store=self.store, progress=self.progress)

    def of_xen(self, name: str) -> bool:
        """Whether the kernel ``name`` is a hypervisor."""
        return self.wanted[name].base.file.component == "xen"

    def inputs(self, name: str, source: Source) -> dict[str, str]:
        """Inputs of the kernel ``name``."""
        module = xenbuild if self.of_xen(name) else linuxbuild
        return kernel_inputs(self.wanted[name], source, how=code_of(module, compiling))

    def kernel(self, name: str, source: Source) -> Artifact:
        """Build ``xen``, ``linux``, or another one of ``wanted``."""
        recipe = self.wanted[name]
        build: Callable[..., None] = xenbuild.build_xen
        if not self.of_xen(name):
            build = functools.partial(linuxbuild.build_linux, arch=recipe.arch)
        space = xenbuild.SPACE_MIB if self.of_xen(name) else linuxbuild.SPACE_MIB

        def make(dest: Path) -> None:
            compiling.check_space(self.store.root, mib=space, what=f"building {name}")
            with prepared(
                source, recipe.patches, store=self.store, progress=self.progress
            ) as tree:
                build(
                    tree, dest,
                    fragments=recipe.fragments, jobs=self.jobs,
                    progress=self.progress, stock=recipe.stock,
                )

        return self.get(name, self.inputs(name, source), make)

    def tools(self) -> Artifact:
        """The in-guest tools."""
        folder = self.images / "tools"
        inputs = toolbuild.inputs_of(folder) | {"compiler": compiling.compiler()}

        def make(dest: Path) -> None:
            with self.progress.step("build the in-guest tools"):
                toolbuild.build_tools(folder, dest)

        return self.get("tools", inputs, make)

    def bare(self) -> Artifact:
        """The bare guests."""
        folder = self.images / "bare"
        inputs = toolbuild.inputs_of(folder, flags=toolbuild.BARE_FLAGS) | {"compiler": compiling.compiler()}

        def make(dest: Path) -> None:
            with self.progress.step("build the bare guests"):
                toolbuild.build_bare(folder, dest)

        return self.get("bare", inputs, make)

    def keys(self) -> Artifact:
        """The SSH keys."""
        return self.get("keys", {"scheme": "ed25519"}, images.make_keys)

    def rootfs(self, *, part: str = "") -> Artifact:
        """dom0's packages, with those of ``images/dom0-PART``."""
        include = images.packages(self.images / "dom0/packages")
        if part:
            include += images.packages(self.images / f"dom0-{part}/packages")
        inputs = {
            "packages": " ".join(include),
            "suite": images.SUITE,
            "without": digest(" ".join(images.UNWANTED)),
        }

        def make(dest: Path) -> None:
            compiling.check_space(self.store.root, mib=images.SPACE_MIB, what="making dom0's root")
            with self.progress.step("install dom0's packages (mmdebstrap)"):
                images.make_rootfs(dest, include=include, log=dest / "build.log")

        return self.get(kind("rootfs", part), inputs, make)

    def guest(self, rootfs: Artifact, keys: Artifact, tools: Artifact, linux: Artifact) -> Artifact:
        """The guests' initramfs."""
        inputs = self.common(rootfs, keys, tools, linux) | {
            "images/guest": images.hash_tree(self.images / "guest")
        }

        def make(dest: Path) -> None:
            with self.progress.step("make the guests' initramfs"):
                images.make_guest(
                    dest,
                    rootfs=rootfs.path / "rootfs.tar", keys=keys.path, tools=tools.path,
                    modules=modules_of(linux), images=self.images / "guest",
                )

        return self.get("guest", inputs, make)

    def dom0(
        self,
        rootfs: Artifact,
        keys: Artifact,
        tools: Artifact,
        linux: Artifact,
        guest: Artifact,
        *,
        guests: Artifact,
        part: str = "",
    ) -> Artifact:
        """dom0's disk image, on the packages of ``rootfs``, with the kernel ``guests`` for its guests."""
        inputs = self.common(rootfs, keys, tools, linux) | {
            "images/dom0": images.hash_tree(self.images / "dom0"),
            "kernel": guests.files["bzImage"],
            "guest": guest.files["guest.cpio.gz"],
        }

        def make(dest: Path) -> None:
            compiling.check_space(self.store.root, mib=images.SPACE_MIB, what="making dom0's image")
            with self.progress.step("make dom0's disk image"):
                images.make_dom0(
                    dest,
                    rootfs=rootfs.path / "rootfs.tar", keys=keys.path, tools=tools.path,
                    modules=modules_of(linux), kernel=guests.path / "bzImage",
                    guest=guest.path / "guest.cpio.gz", images=self.images / "dom0",
                )

        return self.get(kind("dom0", part), inputs, make)

    @staticmethod
    def common(rootfs: Artifact, keys: Artifact, tools: Artifact, linux: Artifact) -> dict[str, str]:
        """What goes into both images."""
        programs = {k: v for k, v in tools.files.items() if not k.endswith(".log")}
        return {
            "rootfs": rootfs.files["rootfs.tar"],
            "keys": digest(keys.files["id_key.pub"] + keys.files["host_key"]),
            "tools": digest(str(sorted(programs.items()))),
            "modules": linux.files.get("modules.tar", "none"),
            "recipe": code_of(images),
        }


def kind(name: str, part: str) -> str:
    """The kind of an artifact that a part has its own of."""
    return f"{name}-{part}" if part else name


def modules_of(linux: Artifact) -> Path | None:
    """The kernel's modules (a tar), if it has any."""
    return linux.path / "modules.tar" if "modules.tar" in linux.files else None


def build(
    *,
    store: Store,
    progress: Progress,
    xen_tree: Path | None = None,
    linux_tree: Path | None = None,
    stock: bool = False,
    jobs: int | None = None,
    flavour: str = RELEASE,
    parts: Collection[str] = (LINUX,),
) -> Built:
    """Make everything, or find it in the store.

    Args:
        xen_tree, linux_tree: developers' own trees, taken as they stand, without our series.
        stock: pristine trees without our series.
        jobs: compilers side by side; all processors if None.
        flavour: names extra Kconfig fragments of Xen or of Linux (``config/FLAVOUR``).
        parts: without ``linux`` no more is made than bare guests need; the other paths then lead
            nowhere. Further ones (``model.KINDS``) are added to it.

    Raises:
        UserError: a wrong base.toml, tree, patch, configuration or tool.
        InfraError: no network, no space, a missing program.
    """
    wanted = recipes(xen_tree=xen_tree, linux_tree=linux_tree, stock=stock, flavour=flavour)
    if flavour in GUESTS_ONLY:
        wanted[kind("linux", flavour)] = wanted["linux"]
        wanted["linux"] = replace(wanted["linux"], flavour=RELEASE)
    compiling.check_programs()
    builder = Builder(
        store=store, progress=progress, wanted=wanted, jobs=jobs or compiling.cores()
    )
    if LINUX not in parts:
        builder.kernel("xen", builder.source("xen"))
        builder.bare()
        return told(builder)
    linux_source: Future[Source] = Future()
    linux_unpacked: Future[None] = Future()

    def compile_lane() -> tuple[Artifact, Artifact]:
        hypervisor = builder.kernel("xen", builder.source("xen"))
        source = linux_source.result()
        linux_unpacked.result()
        return hypervisor, builder.kernel("linux", source)

    def waiting_lane() -> tuple[Artifact, Artifact, Artifact, Artifact]:
        try:
            source = builder.source("linux")
            linux_source.set_result(source)
            builder.unpack_ahead("linux", source)
            linux_unpacked.set_result(None)
        except BaseException as error:
            # The other lane must not wait for ever for what will not come.
            for promise in (linux_source, linux_unpacked):
                if not promise.done():
                    promise.set_exception(proc.Cancelled(f"no Linux tree: {error}"))
            raise
        return builder.rootfs(), builder.keys(), builder.tools(), builder.bare()

    (_, kernel), (rootfs, keys, tools, _) = side_by_side(compile_lane, waiting_lane)
    guests = kernel
    if flavour in GUESTS_ONLY:
        guests = builder.kernel(kind("linux", flavour), builder.sources["linux"])
    guest = builder.guest(rootfs, keys, tools, guests)
    builder.dom0(rootfs, keys, tools, kernel, guest, guests=guests)
    if HVM in parts:
        builder.dom0(builder.rootfs(part=HVM), keys, tools, kernel, guest, guests=guests, part=HVM)
    if WITHOUT_3L in parts:
        builder.wanted[WITHOUT_3L] = replace(wanted["xen"], flavour="without-3l")
        builder.kernel(WITHOUT_3L, builder.sources["xen"])
    if {i386.PART, i386.HVM_PART} & set(parts):
        i386.make(builder, rootfs=rootfs, keys=keys)
    if {stock_kernel.PART, stock_kernel.DOM0_PART} & set(parts):
        stock_kernel.make(builder, rootfs=rootfs, keys=keys)
    return told(builder)


def told(builder: Builder) -> Built:
    """What the builder made or found; says which it made."""
    made = [kind for kind, artifact in builder.artifacts.items() if not artifact.hit]
    builder.progress.say(
        f"built: {', '.join(made)}" if made else "nothing to build: all of it is in the store"
    )
    return built_of(builder.artifacts, builder.sources)


def recorded(
    keys: Mapping[str, str], sources: Mapping[str, Source], *, store: Store, progress: Progress
) -> Built | None:
    """What an earlier run had, if all of it is still in the store.

    Args:
        keys: of its artifacts, by kind.
        sources: what they were made from, for the record.
    """
    found = {kind: store.find(kind, key, progress) for kind, key in keys.items()}
    artifacts = {kind: artifact for kind, artifact in found.items() if artifact is not None}
    return built_of(artifacts, sources) if artifacts and len(artifacts) == len(found) else None


# Where each artifact has what a machine boots.
PLACES = {
    "xen": ("xen", "xen"),
    "xen_syms": ("xen", "xen-syms"),
    "kernel": ("linux", "bzImage"),
    "vmlinux": ("linux", "vmlinux"),
    "dom0_image": ("dom0", "dom0.ext4"),
    "guest_initrd": ("guest", "guest.cpio.gz"),
    "tools": ("tools", ""),
    "bare": ("bare", ""),
    "ssh_key": ("keys", "id_key"),
    "host_key": ("keys", "host_key.pub"),
}


# What a part's kernel has to be told.
PART_ARGS = {i386.PART: i386.ARGS}
# As PLACES, for the parts.
PART_PLACES = {
    i386.PART: i386.PLACES,
    i386.HVM_PART: i386.HVM_PLACES,
    stock_kernel.PART: stock_kernel.PLACES,
    stock_kernel.DOM0_PART: stock_kernel.DOM0_PLACES,
}


def parts_in(kinds: Collection[str]) -> frozenset[str]:
    """The parts that artifacts of these kinds make up."""
    places = {part: {kind for kind, _ in files.values()} for part, files in PART_PLACES.items()}
    places |= {LINUX: {"linux"}, HVM: {kind("dom0", HVM)}, WITHOUT_3L: {WITHOUT_3L}}
    return frozenset(part for part, wanted in places.items() if wanted <= set(kinds))


def built_of(artifacts: Mapping[str, Artifact], sources: Mapping[str, Source]) -> Built:
    """The paths in ``artifacts``; those of what is not among them lead nowhere."""
    paths = {
        name: artifacts[kind].path / file if kind in artifacts else Path()
        for name, (kind, file) in PLACES.items()
    }
    return Built(
        **paths,
        images={
            part: GuestImage(
                **{name: artifacts[kind].path / file for name, (kind, file) in places.items()},
                args=PART_ARGS.get(part, ""),
            )
            for part, places in PART_PLACES.items()
            if all(kind in artifacts for kind, _ in places.values())
        },
        dom0_images={
            part: artifacts[kind("dom0", part)].path / "dom0.ext4"
            for part in (HVM,)
            if kind("dom0", part) in artifacts
        },
        xens={part: artifacts[part].path / "xen" for part in (WITHOUT_3L,) if part in artifacts},
        keys={kind: artifact.key for kind, artifact in artifacts.items()},
        hits={kind: artifact.hit for kind, artifact in artifacts.items()},
        sources=dict(sources),
    )


A = TypeVar("A")
B = TypeVar("B")


def side_by_side(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Run two functions at once; when one fails, the programs of the other are stopped.

    Raises:
        what the one that failed raised (never the other's :class:`proc.Cancelled`).
    """
    with proc.children() as running, ThreadPoolExecutor(2, "build") as pool:
        one: Future[A] = pool.submit(contextvars.copy_context().run, first)
        two: Future[B] = pool.submit(contextvars.copy_context().run, second)
        try:
            both: list[Future[Any]] = [one, two]
            wait(both, return_when=FIRST_EXCEPTION)
        finally:
            # After a success nothing runs any more; after Ctrl-C or a failure
            # the pool would wait for what is of no use.
            if not (one.done() and two.done()):
                running.stop()
        failures = [error for lane in (one, two) if (error := lane.exception()) is not None]
        for error in sorted(failures, key=lambda e: isinstance(e, proc.Cancelled)):
            raise error
        return one.result(), two.result()
