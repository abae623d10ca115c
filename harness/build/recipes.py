# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes: what a kernel is built from and how, and its inputs for the store key."""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from harness.build import linux
from harness.build.compilers import compiler
from harness.core.progress import Progress
from harness.core.records import Source, Tree
from harness.plan.flavours import RELEASE
from harness.source import bases
from harness.source.bases import Base
from harness.source.fetch import fetch
from harness.source.series import digest_of
from harness.source.trees import own_tree
from harness.store.artifacts import InputsChanged, Store
from harness.store.hashes import digest, sha256_of


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One kernel to build: its source, series, flavour and architecture.

    Attributes:
        base: the patch folder.
        tree: a developer's own tree, used instead of tarball and series; None: there is none.
        stock: leave out the series.
        flavour: selects further Kconfig fragments.
        arch: for Linux, Kbuild's name of the architecture.
    """

    base: Base
    tree: Path | None
    stock: bool
    flavour: str
    arch: str = linux.X86_64

    @property
    def patches(self) -> tuple[Path, ...]:
        """The series to apply; empty for a developer's tree, which is built as it is."""
        return () if self.stock or self.tree else self.base.patches()

    @property
    def fragments(self) -> tuple[Path, ...]:
        """Kconfig fragments of the base for this flavour and architecture."""
        return self.base.fragments(flavour=self.flavour, arch=self.arch)


def recipes(
    *,
    xen_tree: Path | None = None,
    linux_tree: Path | None = None,
    stock: bool = False,
    flavour: str = RELEASE,
) -> dict[str, Recipe]:
    """The recipes of ``xen`` and ``linux``; reads the bases, needs no network.

    Args:
        flavour: a base that has fragments for this flavour is built with them, the other base as the
            release. Most flavours configure Xen; ``linux-debug``, for example, configures Linux.

    Raises:
        UserError: a base.toml has an error.
    """
    wanted: dict[str, Recipe] = {}
    for name, tree in (("xen", xen_tree), ("linux", linux_tree)):
        base = bases.load(bases.default(name))
        its = flavour if base.has(flavour) else RELEASE
        wanted[name] = Recipe(base=base, tree=tree, stock=stock, flavour=its)
    return wanted


def source_of(recipe: Recipe, *, store: Store, progress: Progress) -> Source:
    """The source of a recipe: the fetched tarball, or the developer's own tree.

    Raises:
        UserError: the developer's tree is not a source tree.
        InfraError: the tarball cannot be downloaded.
    """
    if recipe.tree is not None:
        return own_tree(recipe.base.file.component, recipe.tree)
    return fetch(recipe.base, store=store, progress=progress)


def sources_of(
    *,
    store: Store,
    progress: Progress,
    xen_tree: Path | None = None,
    linux_tree: Path | None = None,
) -> dict[str, Source]:
    """The resolved sources of ``xen`` and ``linux``; fetched if the store does not have them."""
    wanted = recipes(xen_tree=xen_tree, linux_tree=linux_tree)
    return {name: source_of(r, store=store, progress=progress) for name, r in wanted.items()}


def kernel_inputs(recipe: Recipe, source: Source, *, how: str) -> dict[str, str]:
    """Store inputs of one kernel build.

    Args:
        how: :func:`recipe_of` the modules that build it.
    """
    return {
        "source": digest_of(source, ()),
        "series": digest("".join(sha256_of(patch) for patch in recipe.patches)),
        "config": digest("".join(path.read_text() for path in recipe.fragments)),
        "flavour": recipe.flavour,
        "compiler": compiler(),
        "recipe": how,
    }


def refuse_other(tree: Tree, source: str) -> None:
    """Refuse a tree whose content is not the ``source`` of :func:`kernel_inputs`.

    Raises:
        InputsChanged: somebody edited it before it was copied, for example while this run waited for a lock.
    """
    if tree.pristine != source:
        raise InputsChanged(f"the tree {tree.source.tree} was edited while this waited for it")


# From the hash of rewritten code to that of the code it replaced, where both make the same output from the
# same inputs. Without an entry here, changed code is a new recipe, and its artifacts are built again.
SAME_AS: dict[str, str] = {
    # xen
    "5543a25ca27fc2f0cd5204e956841a4ceeff1ddb7835fb0d851524ce06365f0c": (
        "ae3aeae16207b3e7a783d9ff052ac88406424bf4df549cf83b9cf5bb3555354a"
    ),
    # linux
    "b9a1c22b0e041c358fcfc4f7daa96c809e09f8daec6f4d2a9e21c1599dd7a216": (
        "0da8dcd6a3fe06f1ba8878ea858d01cec9b7809a1cbd8518d4285221930ef7e5"
    ),
    # images
    "77318fda709729de6c5b0244c72145dd734b6af72042cb9381c2256e6e3fc8c7": (
        "d566ffe00ac4c15b81c4ff465d4b7e50579cf80abf9ac5cab8fe76bebec56641"
    ),
    # pvh_elf
    "fdf3fd2357f2f0aec320caa005703ae8013922114ffc5d95991a319670a2a901": (
        "005c8365404ec68ec42065d907b65e099d4bc38c4f9a3feb86ab31b9839f73ab"
    ),
    # stock
    "837d2ee9e409f021ea2114a001425a74a9f84230916f3cb4c4538c7ecbbd5676": (
        "f2091fff3896c65820d324ad76b6f04a89beba2861259be4fcb012b474f13bce"
    ),
}


@functools.cache
def recipe_of(*modules: ModuleType) -> str:
    """Hash of the code that makes an artifact, for store keys.

    It depends only on the statements of the modules, not on their comments,
    docstrings, imports or paths.
    """
    text = "".join(statements_of(Path(str(module.__file__)).read_text()) for module in modules)
    return SAME_AS.get(digest(text), digest(text))


def statements_of(source: str) -> str:
    """Python source without comments, docstrings, imports and blank lines; equal for all Python versions."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and (docstring or isinstance(node, ast.Import | ast.ImportFrom)):
            for row in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[row] = ""
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())
