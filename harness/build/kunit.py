# SPDX-License-Identifier: GPL-2.0-or-later
"""Small Linux kernels that run the series' KUnit tests, booted by QEMU without Xen.

The purely computational parts of the kernel's side of the ABI (where a port's
bits are, in which order they are searched) need no hypervisor. Both widths are
built: ``kunit64`` is an x86-64 kernel, ``kunit32`` an i386 one, from tinyconfig
and the fragments in the base's ``config/kunit``.
"""

from __future__ import annotations

from pathlib import Path

from harness.build import kconfig, linux
from harness.build import make as making
from harness.build.compilers import check_space, cores
from harness.build.recipes import config_input, kernel_inputs, recipe_of, recipes, refuse_other, source_of
from harness.core.progress import Progress
from harness.core.records import DEFAULT_TREES, Trees
from harness.plan.flavours import RELEASE
from harness.source.series import prepared
from harness.store.artifacts import Artifact, Inputs, Store

ARCH = {"kunit64": "x86_64", "kunit32": "i386"}


def fragments(config: Path, arch: str, *, flavour: str = RELEASE) -> tuple[Path, ...]:
    """Kconfig fragments of a KUnit kernel.

    Args:
        config: the folder of the base's fragments.
        arch: Kbuild's name of the architecture.
        flavour: a flavour of Linux adds its fragments; the release adds none.
    """
    folders = (config / "kunit", config / "kunit" / arch, config / flavour)
    return tuple(path for folder in folders for path in sorted(folder.glob("*.config")))


def build_kernel(
    kind: str,
    *,
    store: Store,
    progress: Progress,
    trees: Trees = DEFAULT_TREES,
    jobs: int | None = None,
    flavour: str = RELEASE,
) -> Artifact:
    """Build a KUnit kernel, ``bzImage``, unless the store has it.

    Args:
        kind: ``kunit64`` or ``kunit32``.
        trees: which Linux.
        flavour: a flavour of Linux adds its fragments; with any other flavour the release is built.

    Raises:
        UserError: the effective configuration is not the requested one, or the tree does not compile.
        InfraError: no network, no space, or a program is missing.
    """
    arch = ARCH[kind]
    recipe = recipes(trees, flavour=flavour)["linux"]
    source = source_of(recipe, store=store, progress=progress)
    wanted = (*fragments(recipe.base.config, arch, flavour=recipe.flavour), *recipe.extra)
    requested = kconfig.merge(wanted, version=source.version)
    known: dict[str, str] = {}

    def inputs() -> Inputs:
        known.update(kernel_inputs(recipe, source, how=recipe_of(linux, making)))
        known.update(config=config_input(requested), arch=arch)
        return dict(known)

    def make(dest: Path) -> None:
        check_space(store.root, mib=linux.SPACE_MIB, what=f"building {kind}")
        with prepared(source, recipe.patches, store=store, progress=progress) as tree:
            refuse_other(tree, known["source"])
            linux.build_linux(
                tree, dest,
                requested=requested, jobs=jobs or cores(), progress=progress, arch=arch,
            )  # fmt: skip

    return store.get(kind, inputs, make, progress, taken=("source",))
