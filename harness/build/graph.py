# SPDX-License-Identifier: GPL-2.0-or-later
"""From bases to everything that a machine needs to boot, out of the store.

Two lanes side by side. One compiles, one kernel at a time; the other waits
for networks and disks (download, unpack, mmdebstrap). The images come last,
they hold the kernel. What is in the store already is not made again.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from harness.build.builder import Builder, kind
from harness.build.built import built_of
from harness.build.compilers import check_programs, cores
from harness.build.components import COMPONENTS
from harness.build.lanes import side_by_side
from harness.build.recipes import recipes
from harness.core import process
from harness.core.progress import Progress
from harness.core.records import LINUX, Built, Source
from harness.plan.flavours import FLAVOURS, RELEASE
from harness.store.artifacts import Store


def build(
    *,
    store: Store,
    progress: Progress,
    xen_tree: Path | None = None,
    linux_tree: Path | None = None,
    stock: bool = False,
    jobs: int | None = None,
    flavour: str = RELEASE,
    components: Collection[str] = (LINUX,),
) -> Built:
    """Make everything, or find it in the store.

    Args:
        xen_tree, linux_tree: developers' own trees, taken as they stand, without our series.
        stock: pristine trees without our series.
        jobs: compilers side by side; all processors if None.
        flavour: names extra Kconfig fragments of Xen or of Linux (``config/FLAVOUR``).
        components: names out of ``COMPONENTS``. Without ``linux`` only what bare guests need is made, and
            the other paths in the result lead nowhere.

    Raises:
        UserError: a wrong base.toml, tree, patch, configuration or tool.
        InfraError: no network, no space, a missing program.
    """
    wanted = recipes(xen_tree=xen_tree, linux_tree=linux_tree, stock=stock, flavour=flavour)
    guest_kernel = "linux"
    if FLAVOURS[flavour].guests_only:
        guest_kernel = kind("linux", flavour)
        wanted[guest_kernel] = wanted["linux"]
        wanted["linux"] = replace(wanted["linux"], flavour=RELEASE)
    check_programs()
    builder = Builder(store=store, progress=progress, wanted=wanted, jobs=jobs or cores())
    builder.guest_kernel = guest_kernel
    if LINUX not in components:
        builder.kernel("xen", builder.source("xen"))
        builder.bare()
        return told(builder)
    linux_source: Future[Source] = Future()
    linux_unpacked: Future[None] = Future()

    def compile_lane() -> None:
        builder.kernel("xen", builder.source("xen"))
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
            # The other lane must not wait for ever for what will not come.
            for promise in (linux_source, linux_unpacked):
                if not promise.done():
                    promise.set_exception(process.Cancelled(f"no Linux tree: {error}"))
            raise
        builder.rootfs()
        builder.keys()
        builder.tools()
        builder.bare()

    side_by_side(compile_lane, waiting_lane)
    if guest_kernel != "linux":
        builder.kernel(guest_kernel, builder.sources["linux"])
    builder.guest()
    builder.dom0()
    # Two components may be made by one function.
    for make in dict.fromkeys(one.make for name, one in COMPONENTS.items() if name in components and one.make):
        make(builder)
    return told(builder)


def told(builder: Builder) -> Built:
    """What the builder made or found; says which it made."""
    made = [kind for kind, artifact in builder.artifacts.items() if not artifact.hit]
    builder.progress.say(
        f"built: {', '.join(made)}" if made else "nothing to build: all of it is in the store"
    )
    return built_of(builder.artifacts, builder.sources)

