# SPDX-License-Identifier: GPL-2.0-or-later
"""Build everything that a machine boots, from bases to images, reusing what the store has.

Two lanes run in parallel. One compiles, one kernel at a time; the other waits
for network and disk (download, unpack, mmdebstrap). The images come last,
since they contain the kernel.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import replace

from harness.build import toolstack
from harness.build.builder import Builder, kind
from harness.build.built import built_of
from harness.build.compilers import check_programs, cores
from harness.build.components import COMPONENTS
from harness.build.kconfig import Misconfigured
from harness.build.lanes import side_by_side
from harness.build.recipes import recipes
from harness.core import process
from harness.core.environment import left_out
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import DEFAULT_TREES, LINUX, Built, Source, Trees
from harness.plan.flavours import FLAVOURS, RELEASE
from harness.store.artifacts import Store


def build(
    *,
    store: Store,
    progress: Progress,
    trees: Trees = DEFAULT_TREES,
    jobs: int | None = None,
    flavour: str = RELEASE,
    components: Collection[str] = (LINUX,),
) -> Built:
    """Build everything that is requested, unless the store has it.

    Args:
        trees: which Xen and which Linux.
        jobs: number of parallel compiler jobs; None: one per processor.
        flavour: selects extra Kconfig fragments of Xen or Linux (``config/FLAVOUR``).
        components: names from ``COMPONENTS``. Without ``linux`` or one that needs it, only hypervisors and
            the bare guests are built, and the other paths in the result are empty.

    Raises:
        UserError: an error in a base.toml, tree, patch, configuration or tool.
        InfraError: no network, no space, or a missing program.
    """
    wanted = recipes(trees, flavour=flavour)
    guest_kernel = "linux"
    if FLAVOURS[flavour].guests_only:
        guest_kernel = kind("linux", flavour)
        wanted[guest_kernel] = wanted["linux"]
        wanted["linux"] = replace(wanted["linux"], flavour=RELEASE)
    if unknown := sorted(set(components) - COMPONENTS.keys()):
        raise UserError(
            f"there is no component {', '.join(unknown)}", hint=f"Known: {', '.join(COMPONENTS)}."
        )
    check_programs()
    if note := left_out():
        progress.say(note)
    builder = Builder(
        store=store, progress=progress, wanted=wanted, jobs=jobs or cores(), guest_kernel=guest_kernel
    )
    with_linux = any(COMPONENTS[name].needs_linux for name in components)
    _check_first(builder, ("xen", "linux") if with_linux else ("xen",))
    if with_linux:
        _with_linux(builder)
    else:
        builder.kernel("xen", builder.source("xen"))
        builder.bare()
    # One function may make two components.
    makers = (one.make for name, one in COMPONENTS.items() if name in components and one.make)
    for make in dict.fromkeys(makers):
        make(builder)
    return report(builder)


def _check_first(builder: Builder, names: Collection[str]) -> None:
    """Find out what a tree or a fragment of the user's does not fit, before the first compiler runs.

    All of it at once, for both trees. What the project's own tests have built is configured only when it is
    built: the check would hold up the compiler until Linux is unpacked.

    Raises:
        Misconfigured: a tree cannot have the requested configuration.
    """
    names = [name for name in names if not builder.wanted[name].tried]
    problems: dict[str, tuple[str, ...]] = {}

    def check(name: str) -> None:
        builder.source(name)
        problems[name] = builder.misfits(name)

    if len(names) == 2:
        side_by_side(lambda: check(names[0]), lambda: check(names[1]))
    else:
        for name in names:
            check(name)
    if found := [f"{name}: {line}" for name in names for line in problems[name]]:
        raise Misconfigured(found)


def _with_linux(builder: Builder) -> None:
    """Build the plain artifacts: Xen, Linux, the in-guest programs and the images."""
    builder.source("xen")
    said = toolstack.facts(builder)
    if why := toolstack.why_needed(builder, said):
        builder.progress.say(f"{why}: dom0 gets a toolstack that is built out of Xen's tree")
    linux_source: Future[Source] = Future()
    linux_unpacked: Future[None] = Future()

    def compile_lane() -> None:
        builder.kernel("xen", builder.sources["xen"])
        source = linux_source.result()
        linux_unpacked.result()
        builder.kernel("linux", source)

    def waiting_lane() -> None:
        try:
            source = builder.source("linux")
            linux_source.set_result(source)
            builder.unpack_ahead("linux", source)
            linux_unpacked.set_result(None)
        except BaseException as error:
            # The other lane must not wait forever for these futures.
            for promise in (linux_source, linux_unpacked):
                if not promise.done():
                    promise.set_exception(process.Cancelled(f"no Linux tree: {error}"))
            raise
        builder.rootfs()
        if why:
            toolstack.rootfs(builder)
        builder.keys()
        builder.tools()
        builder.bare()

    side_by_side(compile_lane, waiting_lane)
    if builder.guest_kernel != "linux":
        builder.kernel(builder.guest_kernel, builder.sources["linux"])
    builder.guest()
    if why:
        toolstack.make(builder, said)
    builder.dom0()


def report(builder: Builder) -> Built:
    """The result of the build; reports which artifacts were made."""
    made = [kind for kind, artifact in builder.artifacts.items() if not artifact.hit]
    builder.progress.say(
        f"built: {', '.join(made)}" if made else "nothing to build: all of it is in the store"
    )
    return built_of(builder.artifacts, builder.sources)

