# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes: what a kernel is built from and how, and its inputs for the store key."""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from harness.build import kconfig, linux
from harness.build.compilers import compiler
from harness.build.kconfig import Requested
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import DEFAULT_TREES, Source, Tree, Trees
from harness.plan.flavours import RELEASE
from harness.source import bases
from harness.source.bases import Base
from harness.source.fetch import fetch
from harness.source.series import digest_of
from harness.source.trees import own_tree
from harness.source.versions import series_of, version_in
from harness.store.artifacts import InputsChanged, Store
from harness.store.hashes import digest, sha256_of


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One kernel to build: its source, series, flavour and architecture.

    Attributes:
        base: the patch folder.
        tree: a developer's own tree, used instead of the tarball; None: there is none.
        stock: leave out the series.
        with_series: apply the series to the developer's tree, too.
        flavour: selects further Kconfig fragments.
        arch: for Linux, Kbuild's name of the architecture.
        extra: Kconfig fragments that the user gave.
    """

    base: Base
    tree: Path | None
    stock: bool
    flavour: str
    arch: str = linux.X86_64
    with_series: bool = False
    extra: tuple[Path, ...] = ()

    @property
    def patches(self) -> tuple[Path, ...]:
        """The series to apply; empty for a developer's tree, unless it is asked for."""
        return () if self.stock or (self.tree and not self.with_series) else self.base.patches()

    @property
    def fragments(self) -> tuple[Path, ...]:
        """Kconfig fragments of the base for this flavour and architecture, then the user's."""
        return (*self.base.fragments(flavour=self.flavour, arch=self.arch), *self.extra)

    @property
    def tried(self) -> bool:
        """Whether this project's own tests have built it: nothing in it is the user's."""
        return self.base.file.default and not (self.tree or self.stock or self.extra)

    def requested(self, source: Source) -> dict[str, Requested]:
        """What the fragments request of the version of this source."""
        return kconfig.merge(self.fragments, version=source.version)


def recipes(trees: Trees = DEFAULT_TREES, *, flavour: str = RELEASE) -> dict[str, Recipe]:
    """The recipes of ``xen`` and ``linux``; reads the bases, needs no network.

    Args:
        flavour: a base that has fragments for this flavour is built with them, the other base as the
            release. Most flavours configure Xen; ``linux-debug``, for example, configures Linux.

    Raises:
        UserError: a base.toml has an error, or there is no such base or tree.
    """
    wanted: dict[str, Recipe] = {}
    for name in ("xen", "linux"):
        base = base_of(trees, name)
        wanted[name] = Recipe(
            base=base,
            tree=trees.tree(name),
            stock=trees.stock,
            flavour=flavour if base.has(flavour) else RELEASE,
            with_series=trees.with_series,
            extra=trees.config(name),
        )
    return wanted


def base_of(trees: Trees, component: str) -> Base:
    """The base of ``xen`` or ``linux``: the one that was named, the one that fits the tree, or the default.

    Raises:
        UserError: there is no such base or tree.
    """
    tree = trees.tree(component)
    series = bool(tree) and trees.with_series
    if name := trees.base(component):
        base = bases.named(component, name)
        if series and not base.patches():
            raise UserError(
                f"--with-series: the base {component} {name} has no series",
                hint=f"leave out --{component}, and the nearest series is taken; evh bases lists them.",
            )
        return base
    if tree is None:
        return bases.default(component)
    return bases.fitting(component, version_in(component, tree), series=series)


def pair_name(trees: Trees = DEFAULT_TREES) -> str:
    """The name of Xen and Linux in cell ids, e.g. ``xen-4.20+linux-6.12``.

    It leaves out point releases, so that ids stay the same across them. An own tree has the name of its
    version, whichever base it is built with.

    Raises:
        UserError: as for :func:`base_of`.
    """
    names = []
    for component in ("xen", "linux"):
        if (tree := trees.tree(component)) is not None:
            numbers = series_of(version_in(component, tree))
            names.append(f"{component}-{numbers[0]}.{numbers[1]}")
        else:
            names.append(base_of(trees, component).name)
    return "+".join(names)


def source_of(recipe: Recipe, *, store: Store, progress: Progress) -> Source:
    """The source of a recipe: the fetched tarball, or the developer's own tree.

    Raises:
        UserError: the developer's tree is not a source tree.
        InfraError: the tarball cannot be downloaded.
    """
    if recipe.tree is not None:
        return own_tree(recipe.base.file.component, recipe.tree)
    return fetch(recipe.base, store=store, progress=progress)


def kernel_inputs(recipe: Recipe, source: Source, *, how: str) -> dict[str, str]:
    """Store inputs of one kernel build.

    Args:
        how: :func:`recipe_of` the modules that build it.
    """
    return {
        "source": digest_of(source, ()),
        "series": digest("".join(sha256_of(patch) for patch in recipe.patches)),
        "config": config_input(recipe.requested(source)),
        "flavour": recipe.flavour,
        "compiler": compiler(),
        "recipe": how,
    }


def config_input(requested: Mapping[str, Requested]) -> str:
    """Store input of what is requested of Kconfig."""
    key = digest(kconfig.render(requested))
    return SAME_CONFIG.get(key, key)


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
    "53ca363b93f4d21334d3394c0d10fa1445c602c312348032d6d644546df224d3": (
        "ae3aeae16207b3e7a783d9ff052ac88406424bf4df549cf83b9cf5bb3555354a"
    ),
    # linux
    "ad868fa5e7a1824dbf2a635ab9aa08ee333a17401b45a57dbbecaa1ee2a16b0c": (
        "0da8dcd6a3fe06f1ba8878ea858d01cec9b7809a1cbd8518d4285221930ef7e5"
    ),
    # images
    "bced8b5dce4a4185d24b3e3f39c020fd2a993cc0ffd36a41100b3f6d40a5b8a4": (
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


# From the hash of what the fragments of the first bases request to that of their text, the input before.
SAME_CONFIG: dict[str, str] = {
    # xen release
    "376abdcb28a60faebe5e4b3b9c1071a9d07e2c35473a4728a09571ad0430507f": (
        "029705a2b1b404c2fc01e326486e1982d150f0dfd60b53a0019c4464da573396"
    ),
    # xen debug
    "7bbec72340394a87dfefb93e91da58f38e556e27b08ec8e72672bb3887f4d78b": (
        "6c7ceb5fff4a9613cdf5c081bde1af7f6e74f7615c1b17c446d6251d9038e030"
    ),
    # xen ubsan
    "c6ed4a5e0b8cc949bfe933a12212eed7753f3dcb32714e9977d0aba0c914775b": (
        "4bee17f249b47c4d996fa9669251d0a85c8b4fcc451f93cff25d137a8e0df366"
    ),
    # xen coverage
    "c15f6b96305786dd78abcff3d9849e55feb48d0d6bdaef54488e8edb01170501": (
        "404fbbda06237fb68092771edf69e9e3b25f7aeeb449937d0885aa8f1785eb20"
    ),
    # xen without-3l
    "35889bd76d99659f7ec50e36ebf6dfd4ee01457cb4737b2414a9a818332a482b": (
        "4af4e44b587a79d97f2950c92511f162162845f0c74ef0471f3257f4d63435d2"
    ),
    # linux release
    "8737d212b179c6f8ff29d6844bed2afd5bb6e24e9efd352165d88e84a8a8d7e5": (
        "2a41aa4001eaaf01871689562551762fd38e2cebf2afcaa4680346432c071586"
    ),
    # linux linux-debug
    "35cf40e1b0472d0e2a7e08614c0b93b2d6c9510d2cabd1189e2a58ddd4818fe3": (
        "d0d9ccf956f73f04a880cced180bdca9a0326b8125e1da2586cf23d7024802ab"
    ),
    # linux linux-kasan
    "601555fddd32896f8e3c6096e3928f7b9e0f8bd9d8a39d77a1564890b9db2382": (
        "ebe0d6377d895769bae74c634dad52c98aade03e8a94c7a500efff2dde304a74"
    ),
    # linux i386
    "3dec6d27fc17a21b0c6c0382aa9bd591fdd72884ce7353e989246dcf6cec84c7": (
        "e4cbe7e4311ce0e288d2e1cfe55b1be7d16d1e034ceb767c21ed319361ae8f9a"
    ),
    # kunit64 release
    "3214dd9a6289821b8b5a59f0bda06f2de548ade306cf42b6eac5204c0dbd5cf6": (
        "a172eb893f6a41120b99c5d8b8060ff823b542fc8428cf27ed55611195c10ebc"
    ),
    # kunit64 linux-debug
    "63e977e89e9e3acaea57c06aac4819039c423c73dc43e9171d0974b10986bf98": (
        "739a18f87234e8766bb48ce80cc149017c8893855a20405c20a8dd39f43cb827"
    ),
    # kunit64 linux-kasan
    "2a2c5a7a8c0630f4b81df233040324500a1b809122695cc69e5f6a9ffb34ba6d": (
        "cebc475b0921a4ef24cfa97f4e8ae97e8d359c157da667d3896a878c92060ef4"
    ),
    # kunit32 release
    "1fba8025e7c6f374a6c9d01873014411b821f882ad6d7af5ef8d05bb73f977a7": (
        "ef042ed0ca065eee0483db1841cb69497324d83044d0a312d8b85e9e89a2b679"
    ),
    # kunit32 linux-debug
    "7e1bf20790d15b6aecb1d553e65add852efb9601575200fc774e95dfa329806e": (
        "3fcd0c537452f888df268393de0570ffb1284b39b57fdc84db50010b254dc7e9"
    ),
    # kunit32 linux-kasan
    "2bc356fe953bce9621eb4e26501f63119e35faaa219d21ecd80e85137a9ec4b9": (
        "984440ff9862846488158d645bc2e24074a401e6e6a885a207ae08e342dd0fe5"
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
