# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases: which pristine tree a patch folder is for, and what is in the folder.

    xen-patches/4.20/base.toml          read here, strictly
    xen-patches/4.20/NNNN-subject.patch the series (0000-* is the cover letter)
    xen-patches/4.20/config/*.config    Kconfig fragments, in order of name
    xen-patches/4.20/config/FLAVOUR/*.config   more of them for one flavour
    guest-patches/6.12/config/kunit/*.config   of the kernels that run KUnit tests, instead of the others
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT

# Where the bases of each component lie, below the checkout.
FOLDERS = {"xen": "xen-patches", "linux": "guest-patches"}


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tarball of Debian's that the series was made for and tested on.

    Attributes:
        version: upstream's.
        sha256: of the tarball, in hex.
    """

    version: str
    sha256: str


class Debian(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Debian has the tree.

    Attributes:
        package: the source package.
        suites: where to look when none of the known ones is there, best first.
        known: best first.
    """

    package: str
    suites: tuple[str, ...]
    known: tuple[Known, ...] = ()


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the makers have it, for machines without a Debian archive.

    Either a tarball or a commit.

    Attributes:
        version: what it is.
        url: where the tarball is, or the git repository.
        sha256: of the tarball, in hex.
        commit: whole name of the commit, which git verifies the tree against.
    """

    version: str
    url: str
    sha256: str = ""
    commit: str = ""


class BaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a ``base.toml``.

    Attributes:
        component: ``xen`` or ``linux``.
        series: first parts of the version; any point release of it will do.
        debian, upstream: where to get it.
    """

    component: Literal["xen", "linux"]
    series: str
    debian: Debian
    upstream: tuple[Upstream, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Base:
    """A patch folder.

    Attributes:
        folder: e.g. ``xen-patches/4.20``.
        file: its ``base.toml``.
        text: the file's text; its hash is part of the key of what is fetched.
    """

    folder: Path
    file: BaseFile
    text: str

    @property
    def name(self) -> str:
        """``xen-4.20``."""
        return f"{self.file.component}-{self.file.series}"

    def patches(self) -> tuple[Path, ...]:
        """The series in order, without the cover letter."""
        found = sorted(self.folder.glob("[0-9][0-9][0-9][0-9]-*.patch"))
        return tuple(path for path in found if not path.name.startswith("0000-"))

    def has(self, flavour: str) -> bool:
        """Whether there is something special about this base in a flavour."""
        return (self.folder / "config" / flavour).is_dir()

    def fragments(self, *, flavour: str, arch: str = "") -> tuple[Path, ...]:
        """Kconfig fragments, later ones override earlier ones.

        Args:
            arch: whose own come between the common ones and the flavour's.
        """
        config = self.folder / "config"
        # The 32-bit build is a flavour by the name of its architecture: not twice.
        middle = [config / arch] if arch not in ("", flavour) else []
        folders = [config, *middle, config / flavour]
        return tuple(path for folder in folders for path in sorted(folder.glob("*.config")))


def project_root() -> Path:
    """The checkout: the patch folders and images/ are in it.

    Raises:
        UserError: the package is installed without its checkout.
    """
    for folder in FOLDERS.values():
        if not (CHECKOUT / folder).is_dir():
            raise UserError(
                f"there is no {folder} in {CHECKOUT}",
                hint="install the project from its checkout: pip install --editable .",
            )
    return CHECKOUT


def default(component: str) -> Path:
    """The folder of a component's base: the newest version that has one.

    Args:
        component: ``xen`` or ``linux``.

    Raises:
        UserError: there is none.
    """
    home = project_root() / FOLDERS[component]
    found = [path.parent for path in home.glob("*/base.toml")]
    if not found:
        raise UserError(f"{home} has no base", hint="docs/building.md says what a base is.")
    return max(found, key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.name)])


def load(folder: Path) -> Base:
    """Read ``folder/base.toml``.

    Raises:
        UserError: no such file, no TOML, an unknown key, or a value of the wrong kind;
            the message names the file and the key.
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
        raise UserError(f"{path} is not TOML: {error}", hint="correct that line.") from error
    for upstream in file.upstream:
        if bool(upstream.sha256) == bool(upstream.commit):
            raise UserError(
                f"{path}: upstream {upstream.version} needs either sha256 or commit",
                hint="sha256 for a tarball's URL, commit for that of a git repository.",
            )
        if upstream.commit and not re.fullmatch(r"[0-9a-f]{40}", upstream.commit):
            raise UserError(
                f"{path}: upstream.commit of {upstream.version} is not 40 hex digits",
                hint="git rev-parse gives a commit's whole name.",
            )
    pinned: list[tuple[str, Known | Upstream]] = [("debian.known", one) for one in file.debian.known]
    pinned += [("upstream", one) for one in file.upstream]
    for key, one in pinned:
        if not re.fullmatch(r"[0-9a-f]{64}", one.sha256) and not getattr(one, "commit", ""):
            raise UserError(
                f"{path}: {key}.sha256 of {one.version} is not 64 hex digits",
                hint="take it from the maker's signed list of checksums.",
            )
        if not in_series(one.version, file.series):
            raise UserError(
                f"{path}: {key}.version {one.version} is not of series {file.series}",
                hint="correct one of the two.",
            )
    return Base(folder=folder, file=file, text=text)


def in_series(version: str, series: str) -> bool:
    """Whether an upstream ``version`` is a release of ``series`` (6.12 has 6.12.107, not 6.120)."""
    rest = version.removeprefix(series)
    return rest != version and (not rest or not rest[0].isalnum()) and not rest.startswith("~")
