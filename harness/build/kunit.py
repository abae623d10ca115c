# SPDX-License-Identifier: GPL-2.0-or-later
"""Small Linux kernels that run the series' KUnit tests, booted by QEMU without Xen.

The purely computational parts of the kernel's side of the ABI (where a port's
bits are, in which order they are searched) need no hypervisor. Both widths are
built: ``kunit64`` is an x86-64 kernel, ``kunit32`` an i386 one, from tinyconfig
and the fragments in the base's ``config/kunit``.
"""

from __future__ import annotations

from pathlib import Path

from harness.build import linux
from harness.build import make as making
from harness.build.compilers import check_space, cores
from harness.build.recipes import kernel_inputs, recipe_of, recipes, refuse_other, source_of
from harness.core.progress import Progress
from harness.plan.flavours import RELEASE
from harness.source.series import prepared
from harness.store.artifacts import Artifact, Inputs, Store
from harness.store.hashes import digest

ARCH = {"kunit64": "x86_64", "kunit32": "i386"}


def fragments(folder: Path, arch: str, *, flavour: str = RELEASE) -> tuple[Path, ...]:
    """Kconfig fragments of a KUnit kernel.

    Args:
        folder: folder of the Linux base.
        arch: Kbuild's name of the architecture.
        flavour: a flavour of Linux adds its fragments; the release adds none.
    """
    config = folder / "config"
    folders = (config / "kunit", config / "kunit" / arch, config / flavour)
    return tuple(path for folder in folders for path in sorted(folder.glob("*.config")))


def build_kernel(
    kind: str,
    *,
    store: Store,
    progress: Progress,
    linux_tree: Path | None = None,
    jobs: int | None = None,
    flavour: str = RELEASE,
) -> Artifact:
    """Build a KUnit kernel, ``bzImage``, unless the store has it.

    Args:
        kind: ``kunit64`` or ``kunit32``.
        flavour: a flavour of Linux adds its fragments; with any other flavour the release is built.

    Raises:
        UserError: the effective configuration is not the requested one, or the tree does not compile.
        InfraError: no network, no space, or a program is missing.
    """
    arch = ARCH[kind]
    recipe = recipes(linux_tree=linux_tree, flavour=flavour)["linux"]
    source = source_of(recipe, store=store, progress=progress)
    wanted = fragments(recipe.base.folder, arch, flavour=recipe.flavour)
    known: dict[str, str] = {}

    def inputs() -> Inputs:
        known.update(kernel_inputs(recipe, source, how=recipe_of(linux, making)))
        known.update(config=digest("".join(path.read_text() for path in wanted)), arch=arch)
        return dict(known)

    def make(dest: Path) -> None:
        check_space(store.root, mib=linux.SPACE_MIB, what=f"building {kind}")
        with prepared(source, recipe.patches, store=store, progress=progress) as tree:
            refuse_other(tree, known["source"])
            linux.build_linux(
                tree, dest,
                fragments=wanted, jobs=jobs or cores(), progress=progress, arch=arch,
            )  # fmt: skip

    return store.get(kind, inputs, make, progress, taken=("source",))
