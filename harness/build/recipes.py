# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel is built of and how, and the store's key for it."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from harness.build import linux
from harness.build.compilers import compiler
from harness.core.progress import Progress
from harness.core.records import Source
from harness.plan.flavours import RELEASE
from harness.source import bases
from harness.source.bases import Base
from harness.source.fetch import fetch
from harness.source.series import digest_of
from harness.source.trees import own_tree
from harness.store.artifacts import Store
from harness.store.hashes import digest, sha256_of


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
    arch: str = linux.X86_64

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
    wanted: dict[str, Recipe] = {}
    for name, tree in (("xen", xen_tree), ("linux", linux_tree)):
        base = bases.load(bases.default(name))
        its = flavour if base.has(flavour) else RELEASE
        wanted[name] = Recipe(base=base, tree=tree, stock=stock, flavour=its)
    return wanted


def source_of(recipe: Recipe, *, store: Store, progress: Progress) -> Source:
    """The source of one recipe: fetched, or the developer's own.

    Raises:
        UserError: the own tree is none. InfraError: no place has the tarball.
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
    """What the trees were resolved to, by name; fetched where they are not in the store."""
    wanted = recipes(xen_tree=xen_tree, linux_tree=linux_tree)
    return {name: source_of(r, store=store, progress=progress) for name, r in wanted.items()}


def kernel_inputs(recipe: Recipe, source: Source, *, how: str) -> dict[str, str]:
    """The store's inputs for one kernel build.

    Args:
        how: ``recipe_of`` the modules that build it.
    """
    return {
        "source": digest_of(source, ()),
        "series": digest("".join(sha256_of(patch) for patch in recipe.patches)),
        "config": digest("".join(path.read_text() for path in recipe.fragments)),
        "flavour": recipe.flavour,
        "compiler": compiler(),
        "recipe": how,
    }


# Store keys of code that has moved or was rewritten since, and makes the same of the same inputs. Without
# its line here, changed code is another recipe, and what it makes is made again.
SAME_AS: dict[str, str] = {
    # xen
    "1aa5564cc8854b99f4be499f73e4eb027f8c9ca911358aa95ebee1b61fece5d6":
    "ae3aeae16207b3e7a783d9ff052ac88406424bf4df549cf83b9cf5bb3555354a",
    # linux
    "ba96b66de5b588c49156e3aa2db544d99f6415fa50c46cf6a5852703bc69e632":
    "0da8dcd6a3fe06f1ba8878ea858d01cec9b7809a1cbd8518d4285221930ef7e5",
    # images
    "dddd5f17ce278ab2a94a12d12fffb7079ad2086db97278cea5089934f54619e4":
    "d566ffe00ac4c15b81c4ff465d4b7e50579cf80abf9ac5cab8fe76bebec56641",
    # pvh_elf
    "7e54986bc9725b4c401f178a9bc803e7eb15c994ae992bc1d4686468a206a6f7":
    "005c8365404ec68ec42065d907b65e099d4bc38c4f9a3feb86ab31b9839f73ab",
    # stock
    "55c33fde7512851e70187858e9f2ff413b37bd3e4bb89de854f5dd0fa7884beb":
    "f2091fff3896c65820d324ad76b6f04a89beba2861259be4fcb012b474f13bce",
}


def recipe_of(*modules: ModuleType) -> str:
    """Identifies what some modules of ours make, for store keys.

    It hangs on their statements alone: not on comments, docstrings or imports,
    nor on where the files lie.
    """
    total = hashlib.sha256()
    for module in modules:
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [line for line in body if not _is_aside(line)]  # type: ignore[attr-defined]
        total.update(ast.dump(tree).encode())
    return SAME_AS.get(total.hexdigest(), total.hexdigest())


def _is_aside(line: ast.stmt) -> bool:
    docstring = isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    return docstring or isinstance(line, ast.Import | ast.ImportFrom)
