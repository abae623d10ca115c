# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases: the patch folders, each of which names the pristine tree that its series applies to.

    xen-patches/NAME/base.toml          parsed strictly by this module
    xen-patches/NAME/NNNN-subject.patch the series, if there is one (0000-* is the cover letter)
    xen-patches/NAME/config/*.config    Kconfig fragments, in order of name
    xen-patches/NAME/config/FLAVOUR/*.config   further fragments for one flavour
    guest-patches/NAME/config/kunit/*.config   for kernels that run KUnit tests, instead of the others
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.plan.flavours import FLAVOURS
from harness.source.versions import series_of

# Files of these kinds in a base are patches that somebody wants applied.
PATCH_SUFFIXES = (".patch", ".mbx", ".mbox", ".diff", ".eml")
# Folders of fragments other than those of flavours: for an architecture, or one build.
OTHER_FRAGMENTS = ("i386", "x86_64", "kunit", "without-3l")
# Folder of the bases of each component, relative to the checkout.
FOLDERS = {"xen": "xen-patches", "linux": "guest-patches"}


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Debian source tarball that the series was written for and tested on.

    Attributes:
        version: the upstream version.
        sha256: of the tarball, in hex.
    """

    version: str
    sha256: str


class Debian(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to get the tree in Debian.

    Attributes:
        package: the source package.
        suites: where to look if no known tarball is available, best first.
        known: known tarballs, best first.
    """

    package: str
    suites: tuple[str, ...]
    known: tuple[Known, ...] = ()


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to get the tree from upstream, for machines without a Debian archive: a tarball or a git commit.

    Attributes:
        version: the upstream version.
        url: URL of the tarball or of the git repository.
        sha256: of the tarball, in hex; empty for a commit.
        commit: the full commit hash, against which git verifies the tree; empty for a tarball.
    """

    version: str
    url: str
    sha256: str = ""
    commit: str = ""


class BaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a ``base.toml``.

    Attributes:
        component: ``xen`` or ``linux``.
        series: leading parts of the version, e.g. ``6.12``; any point release of it is accepted.
        debian, upstream: where to get the tree; at least one of them.
        default: the base that is used where none is named.
        config: name of the base whose Kconfig fragments this one uses; empty: its own.
    """

    component: Literal["xen", "linux"]
    series: str
    debian: Debian | None = None
    upstream: tuple[Upstream, ...] = ()
    default: bool = False
    config: str = ""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A patch folder.

    Attributes:
        folder: e.g. ``xen-patches/4.20``; its name is what ``--xen`` takes.
        file: its ``base.toml``.
        text: the text of the file; its hash is part of the store key of the source.
    """

    folder: Path
    file: BaseFile
    text: str

    @property
    def name(self) -> str:
        """E.g. ``xen-4.20``."""
        return f"{self.file.component}-{self.file.series}"

    @property
    def config(self) -> Path:
        """The folder of its Kconfig fragments, which may be that of another base."""
        other = self.file.config
        return (self.folder.parent / other if other else self.folder) / "config"

    def patches(self) -> tuple[Path, ...]:
        """The series in order, without the cover letter."""
        found = sorted(self.folder.glob("[0-9][0-9][0-9][0-9]-*.patch"))
        others = [p for p in sorted(self.folder.iterdir()) if p.suffix in PATCH_SUFFIXES and p not in found]
        if others:
            raise UserError(
                f"{others[0]} is not part of the series: its name is not NNNN-subject.patch",
                hint="rename it (git format-patch names patches so), or move it out of the folder.",
            )
        return tuple(path for path in found if not path.name.startswith("0000-"))

    def has(self, flavour: str) -> bool:
        """Whether this base has Kconfig fragments for a flavour."""
        return (self.config / flavour).is_dir()

    def _check_config(self, config: Path) -> None:
        """Raise an error about a file or folder in ``config/`` that no build would read."""
        folders = {*FLAVOURS, *OTHER_FRAGMENTS}
        for path in sorted(config.rglob("*")):
            if path.name.startswith((".", "README")):
                continue
            if path.is_dir() and path.name not in folders:
                raise UserError(
                    f"{path} is the folder of no flavour and no build, so nothing reads it",
                    hint=f"name it after one of {', '.join(sorted(folders))}, or move it out of {config}.",
                )
            if path.is_file() and path.suffix != ".config":
                raise UserError(
                    f"{path} is not read: the names of Kconfig fragments end in .config",
                    hint=f"rename it to {path.stem}.config, or move it out of {config}.",
                )

    def fragments(self, *, flavour: str, arch: str = "") -> tuple[Path, ...]:
        """Kconfig fragments; later ones override earlier ones.

        Args:
            arch: its fragments come between the common ones and those of the flavour.

        Raises:
            UserError: the folder has a file or folder that no build would read.
        """
        config = self.config
        self._check_config(config)
        # The flavour of the 32-bit build has the name of its architecture; do not list that folder twice.
        middle = [config / arch] if arch not in ("", flavour) else []
        folders = [config, *middle, config / flavour]
        return tuple(path for folder in folders for path in sorted(folder.glob("*.config")))


def project_root() -> Path:
    """The checkout, which contains the patch folders and images/.

    Raises:
        UserError: the package was installed without its checkout.
    """
    for folder in FOLDERS.values():
        if not (CHECKOUT / folder).is_dir():
            raise UserError(
                f"{CHECKOUT} has no folder {folder}",
                hint="install the project from a checkout: pip install --editable .",
            )
    return CHECKOUT


def every(component: str) -> tuple[Base, ...]:
    """The bases of a component, in the order of their versions.

    Args:
        component: ``xen`` or ``linux``.

    Raises:
        UserError: there is none, or a base.toml has an error.
    """
    home = project_root() / FOLDERS[component]
    found = [load(path.parent) for path in home.glob("*/base.toml")]
    if not found:
        raise UserError(f"{home} contains no base", hint="docs/building.md describes what a base is.")
    return tuple(sorted(found, key=lambda base: series_of(base.file.series)))


def default(component: str) -> Base:
    """The base of a component that is used where none is named.

    Raises:
        UserError: not exactly one of its bases says ``default = true``.
    """
    found = [base for base in every(component) if base.file.default]
    if len(found) != 1:
        raise UserError(
            f"{len(found)} bases in {project_root() / FOLDERS[component]} are the default",
            hint="exactly one base.toml says default = true.",
        )
    return found[0]


def named(component: str, name: str) -> Base:
    """The base whose folder has this name.

    Raises:
        UserError: there is none.
    """
    for base in every(component):
        if base.folder.name == name:
            return base
    known = ", ".join(base.folder.name for base in every(component))
    raise UserError(
        f"there is no base {name!r} of {component}",
        hint=f"Known: {known} (evh bases); docs/building.md says how to add one.",
    )


def fitting(component: str, version: str, *, series: bool = False) -> Base:
    """The base for a tree of this version: the newest that is not newer, else the oldest.

    Its fragments say themselves from when to when a symbol exists.

    Args:
        series: only bases that have patches.
    """
    found = [base for base in every(component) if base.patches() or not series]
    if not found:
        raise UserError(f"no base of {component} has a series", hint="evh bases lists them.")
    older = [base for base in found if series_of(base.file.series) <= series_of(version)]
    return older[-1] if older else found[0]


def load(folder: Path) -> Base:
    """Read ``folder/base.toml``.

    Raises:
        UserError: the file does not exist or is not TOML, or a key is unknown, missing or has a
            wrong value; the message names the file and the key.
    """
    path = folder / "base.toml"
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}",
            hint="each patch folder needs a base.toml; docs/building.md describes it.",
        ) from error
    try:
        file = msgspec.toml.decode(text, type=BaseFile)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{path}: {error}", hint="docs/building.md lists the keys of base.toml."
        ) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise UserError(f"{path} is not TOML: {error}", hint="correct the line that it names.") from error
    if not re.fullmatch(r"\d+\.\d+", file.series):
        raise UserError(f"{path}: series {file.series!r} is not two numbers", hint="write it like 4.22.")
    if file.debian is None and not file.upstream:
        raise UserError(
            f"{path} does not say where to get the tree",
            hint="add [debian] or [[upstream]] (docs/building.md).",
        )
    if file.config and not (folder.parent / file.config / "config").is_dir():
        raise UserError(
            f"{path}: config names {file.config!r}, and there is no {folder.parent / file.config / 'config'}",
            hint="name the folder of a base that has Kconfig fragments.",
        )
    if file.config and (folder / "config").exists():
        raise UserError(
            f"{path} uses the fragments of {file.config!r}, so nothing reads {folder / 'config'}",
            hint="remove the key config, or the folder.",
        )
    for upstream in file.upstream:
        if bool(upstream.sha256) == bool(upstream.commit):
            raise UserError(
                f"{path}: upstream {upstream.version} needs either sha256 or commit",
                hint="give sha256 if url is a tarball, commit if it is a git repository.",
            )
        if upstream.commit and not re.fullmatch(r"[0-9a-f]{40}", upstream.commit):
            raise UserError(
                f"{path}: upstream.commit of {upstream.version} is not 40 hex digits",
                hint="git rev-parse prints the full hash.",
            )
    known = file.debian.known if file.debian else ()
    pinned: list[tuple[str, Known | Upstream]] = [("debian.known", one) for one in known]
    pinned += [("upstream", one) for one in file.upstream]
    for key, one in pinned:
        if not re.fullmatch(r"[0-9a-f]{64}", one.sha256) and not getattr(one, "commit", ""):
            raise UserError(
                f"{path}: {key}.sha256 of {one.version} is not 64 hex digits",
                hint="take it from the publisher's signed list of checksums.",
            )
        if not in_series(one.version, file.series):
            raise UserError(
                f"{path}: {key}.version {one.version} is not in series {file.series}",
                hint="correct the version or the series.",
            )
    return Base(folder=folder, file=file, text=text)


def in_series(version: str, series: str) -> bool:
    """Whether an upstream ``version`` is a release of ``series`` (6.12.107 is in 6.12, 6.120 is not)."""
    rest = version.removeprefix(series)
    return rest != version and (not rest or not rest[0].isalnum()) and not rest.startswith("~")
