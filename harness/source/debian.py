# SPDX-License-Identifier: GPL-2.0-or-later
"""Tarballs out of Debian's archive: by a known checksum from its pool, or by a suite's signed index."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from debian.deb822 import Sources
from debian.debian_support import Version

from harness.core import process
from harness.core.records import Source
from harness.source import apt
from harness.source.bases import Base, Known, in_series
from harness.source.download import Unavailable, fetch_verified, verify


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A version of a Debian source package, as its suite's signed index lists it."""

    version: str
    tarball: str
    sha256: str

    @property
    def upstream(self) -> str:
        """The version without Debian's epoch and revision."""
        return self.version.split(":", 1)[-1].rsplit("-", 1)[0]


def package_of(base: Base) -> str:
    """The source package of a base that is in Debian."""
    assert base.file.debian is not None, "asked of bases that name a package"
    return base.file.debian.package


def from_pool(base: Base, known: Known, mirror: apt.Mirror, dest: Path) -> Source:
    """A tarball whose checksum is known, though the mirror's index may have moved on from it, or be
    ahead of what the mirror holds.

    Raises:
        Unavailable: the mirror does not have it (any more), or has something else.
    """
    package = package_of(base)
    folder = package[:4] if package.startswith("lib") else package[0]
    pool = f"{mirror.uri.rstrip('/')}/pool/main/{folder}/{package}"
    tarball = fetch_verified(f"{pool}/{package}_{known.version}.orig.tar.xz", known.sha256, dest)
    return Source(
        name=base.file.component,
        version=known.version,
        origin=f"apt:pool:{package}={known.version}",
        sha256=known.sha256,
        tarball=tarball,
    )


def from_debian(
    base: Base, suite: str, mirror: apt.Mirror, dest: Path, *, say: Callable[[str], None]
) -> Source:
    """The newest version of the series that ``suite`` lists and the mirror really has.

    apt verifies the index's signature, and the tarball against the index.

    Raises:
        Unavailable: the suite does not exist there, lists no such version, or
            none of the listed ones can be downloaded.
    """
    root = dest / "apt"
    try:
        options = private_root(root, [mirror.line(suite, kind="deb-src")])
        update(options, suite)
        package = package_of(base)
        listing = process.run(
            ["apt-cache", *options, "showsrc", "--only-source", package],
            what=f"list the versions of {package} in {suite}",
            error=Unavailable,
        )
        listed = newest_first(v for v in parse_showsrc(listing) if in_series(v.upstream, base.file.series))
        if not listed:
            raise Unavailable(f"{suite} lists no {package} {base.file.series}")
        absent: list[str] = []
        for version in listed:
            try:
                tarball = take_tarball(options, package, version, dest)
            except Unavailable as error:
                say(f"{base.name}: {error.message}")
                absent.append(version.version)
                continue
            return Source(
                name=base.file.component,
                version=version.upstream,
                origin=f"apt:{suite}:{package}={version.version}",
                sha256=version.sha256,
                tarball=tarball,
                note=f"listed but not there: {', '.join(absent)}" if absent else "",
            )
        raise Unavailable(f"{suite} lists {', '.join(absent)}, but the mirror has none of them")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def private_root(root: Path, lines: Iterable[str]) -> list[str]:
    """An apt root of our own with these sources.list lines; returns the options to use it.

    Proxies and such still come from the machine's apt.conf, which apt reads
    before its command line.
    """
    for path in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d",
                 "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "etc/apt/sources.list").write_text("".join(f"{line}\n" for line in lines))
    settings = {
        "Dir": root,
        "Dir::State::status": root / "var/lib/dpkg/status",
        # The sandbox user may not be able to enter our store.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        # A half-fetched index is an error, not a warning.
        "APT::Update::Error-Mode": "any",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def update(options: list[str], suite: str) -> None:
    """Fetch the signed index.

    Raises:
        Unavailable: the mirror has no such suite, does not answer, or its signature is bad.
    """
    try:
        process.run(["apt-get", *options, "update"], what=f"read the index of {suite}", error=Unavailable)
    except Unavailable as error:
        reasons = [
            line.strip() for line in error.message.splitlines() if line.lstrip().startswith(("E:", "W:"))
        ]
        raise Unavailable(" ".join(reasons) or error.message) from error


def parse_showsrc(text: str) -> list[Listed]:
    """Versions and original tarballs out of ``apt-cache showsrc``.

    A paragraph without an ``.orig.tar`` (a native package) is passed over.
    """
    found = [
        Listed(version=paragraph["Version"], tarball=file["name"], sha256=file["sha256"])
        for paragraph in Sources.iter_paragraphs(text, use_apt_pkg=False)
        for file in paragraph.get("Checksums-Sha256", ())
        if ".orig.tar." in file["name"] and not file["name"].endswith(".asc")
    ]
    return list(dict.fromkeys(found))


def newest_first(versions: Iterable[Listed]) -> list[Listed]:
    """By Debian's own order of versions (deb-version(7))."""
    return sorted(versions, key=lambda listed: Version(listed.version), reverse=True)


def take_tarball(options: list[str], package: str, version: Listed, dest: Path) -> Path:
    """Download one version's tarball into ``dest`` and check it against the signed index.

    Only the tarball: some mirrors answer 404 to ``.dsc`` names with a plus sign.

    Raises:
        Unavailable: the mirror does not have it, or has something else.
    """
    process.run(
        ["apt-get", *options, "source", "--download-only", "--tar-only",
         f"{package}={version.version}"],
        what=f"download {package} {version.version}",
        cwd=dest,
        error=Unavailable,
    )
    tarball = dest / version.tarball
    if not tarball.is_file():
        raise Unavailable(f"apt brought no {version.tarball}")
    verify(tarball, version.sha256)
    return tarball

