# SPDX-License-Identifier: GPL-2.0-or-later
"""Pristine source trees, verified: Debian's archive, upstream, or a tree of your own.

A tarball is an artifact in the store. What was resolved stands beside it in
``source.json``, so that later runs need no network and take the same one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import apt, proc
from harness.bases import Base, Known, Upstream, in_series
from harness.errors import EvhError, InfraError, UserError
from harness.model import Source
from harness.progress import Progress
from harness.store import Store, digest, sha256_of

RECORD = "source.json"
# Seconds without a byte until a download counts as dead.
STALL = 60.0


class Unavailable(EvhError):
    """One of several places does not have it; the next one is tried."""


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


def fetch(base: Base, *, store: Store, progress: Progress) -> Source:
    """The pristine tarball of ``base``, out of the store or the network.

    Raises:
        InfraError: no place has it; each place and what it answered is listed.
    """
    inputs = {"base": base.name, "base.toml": digest(base.text)}
    name = base.file.component

    def make(dest: Path) -> None:
        with progress.step(f"download {base.name}"):
            source = download(base, dest, say=progress.say)
        record = asdict(source) | {"tarball": source.tarball.name if source.tarball else ""}
        (dest / RECORD).write_text(json.dumps(record, indent=1) + "\n")

    artifact = store.get(f"source-{name}", inputs, make, progress)
    record = json.loads((artifact.path / RECORD).read_text())
    record["tarball"] = artifact.path / record["tarball"]
    return Source(**record)


def download(base: Base, dest: Path, *, say: Callable[[str], None]) -> Source:
    """Download and verify the tarball of ``base`` into ``dest`` from the first place that has it."""
    refused: list[str] = []
    places: list[tuple[str, Callable[[], Source]]] = []
    mirror = apt.mirror()
    if mirror is None:
        refused.append("Debian: apt has no Debian archive among its sources")
    else:
        for known in base.file.debian.known:
            place = functools.partial(from_pool, base, known, mirror, dest)
            places.append((f"Debian's pool, {known.version}", place))
        for suite in base.file.debian.suites:
            place = functools.partial(from_debian, base, suite, mirror, dest, say=say)
            places.append((f"Debian {suite}", place))
    for upstream in base.file.upstream:
        take_from = from_git if upstream.commit else from_upstream
        place = functools.partial(take_from, base, upstream, dest)
        places.append((upstream.url, place))
    for where, take in places:
        try:
            source = take()
        except Unavailable as error:
            refused.append(f"{where}: {error.message}")
            say(f"{base.name}: {refused[-1]}")
            continue
        note = "; ".join(filter(None, [*refused, source.note]))
        return Source(**{**source.__dict__, "note": note})
    raise InfraError(
        f"no place has the source of {base.name}:\n" + "\n".join(refused),
        hint=f"check the network, set {apt.MIRROR_VARIABLE} to a Debian mirror, "
        f"or give a tree of your own: --{base.file.component}-tree PATH.",
    )


def from_pool(base: Base, known: Known, mirror: apt.Mirror, dest: Path) -> Source:
    """A tarball whose checksum is known, though the mirror's index may have moved on from it, or be
    ahead of what the mirror holds.

    Raises:
        Unavailable: the mirror does not have it (any more), or has something else.
    """
    package = base.file.debian.package
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
        package = base.file.debian.package
        listing = proc.run(
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
        proc.run(["apt-get", *options, "update"], what=f"read the index of {suite}", error=Unavailable)
    except Unavailable as error:
        reasons = [
            line.strip() for line in error.message.splitlines() if line.lstrip().startswith(("E:", "W:"))
        ]
        raise Unavailable(" ".join(reasons) or error.message) from error


def parse_showsrc(text: str) -> list[Listed]:
    """Versions and original tarballs out of ``apt-cache showsrc``.

    Raises nothing: a paragraph without an ``.orig.tar`` (a native package) is passed over.
    """
    found: list[Listed] = []
    for paragraph in text.split("\n\n"):
        version = ""
        field = ""
        for line in paragraph.splitlines():
            if line[:1] not in (" ", "\t"):
                field, _, value = line.partition(":")
                if field == "Version":
                    version = value.strip()
            elif field == "Checksums-Sha256":
                parts = line.split()
                if len(parts) == 3 and ".orig.tar." in parts[2] and not parts[2].endswith(".asc"):
                    found.append(Listed(version=version, tarball=parts[2], sha256=parts[0]))
    return list(dict.fromkeys(found))


def newest_first(versions: Iterable[Listed]) -> list[Listed]:
    """By Debian's own order of versions."""

    def newer(a: Listed, b: Listed) -> int:
        lower = subprocess.run(
            ["dpkg", "--compare-versions", a.version, "lt", b.version], check=False
        )
        return 1 if lower.returncode == 0 else -1

    return sorted(versions, key=functools.cmp_to_key(newer))


def take_tarball(options: list[str], package: str, version: Listed, dest: Path) -> Path:
    """Download one version's tarball into ``dest`` and check it against the signed index.

    Only the tarball: some mirrors answer 404 to ``.dsc`` names with a plus sign.

    Raises:
        Unavailable: the mirror does not have it, or has something else.
    """
    proc.run(
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


def from_upstream(base: Base, upstream: Upstream, dest: Path) -> Source:
    """The makers' tarball by URL.

    Raises:
        Unavailable: it cannot be had, is cut short, or has another checksum.
    """
    tarball = fetch_verified(upstream.url, upstream.sha256, dest)
    return Source(
        name=base.file.component,
        version=upstream.version,
        origin=upstream.url,
        sha256=upstream.sha256,
        tarball=tarball,
    )


def from_git(base: Base, upstream: Upstream, dest: Path) -> Source:
    """The makers' tree at one commit, as a tarball of our own making.

    Only that commit is fetched, and git checks what comes against its name.

    Raises:
        Unavailable: the repository does not answer, or does not have the commit.
    """
    tarball = dest / f"{base.file.component}-{upstream.version}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="git-", dir=dest) as name:
        git = ["git", "-C", name, "-c", "gc.auto=0"]
        what = f"fetch {upstream.commit[:12]} of {upstream.url}"
        proc.run(["git", "init", "--quiet", "--bare", name], what=what, error=Unavailable)
        proc.run(
            [*git, "fetch", "--quiet", "--depth=1", "--no-tags", upstream.url, upstream.commit],
            what=what,
            error=Unavailable,
        )
        prefix = f"--prefix={base.file.component}-{upstream.version}/"
        proc.run(
            [*git, "archive", prefix, f"--output={tarball}", upstream.commit], what=what, error=Unavailable
        )
    return Source(
        name=base.file.component,
        version=upstream.version,
        origin=f"{upstream.url}@{upstream.commit}",
        sha256=sha256_of(tarball),
        tarball=tarball,
    )


def fetch_verified(url: str, sha256: str, dest: Path) -> Path:
    """Fetch ``url`` into the folder ``dest``, under its own name.

    Raises:
        Unavailable: it cannot be had, is cut short, or has another checksum; nothing is left then.
    """
    target = dest / url.rsplit("/", 1)[-1]
    try:
        download_url(url, target)
        verify(target, sha256)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def download_url(url: str, target: Path) -> None:
    """Fetch ``url`` into ``target``.

    Raises:
        Unavailable: no answer, an error status, or fewer bytes than announced.
    """
    try:
        with urllib.request.urlopen(url, timeout=STALL) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
            announced = answer.headers.get("Content-Length")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise Unavailable(f"cannot be downloaded: {getattr(error, 'reason', error)}") from error
    size = target.stat().st_size
    if announced is not None and size != int(announced):
        raise Unavailable(f"the download was cut short: {size} of {announced} bytes")


def verify(path: Path, sha256: str) -> None:
    """Check a file's SHA-256.

    Raises:
        Unavailable: it has another one; the file is removed.
    """
    got = sha256_of(path)
    if got != sha256:
        path.unlink()
        raise Unavailable(f"{path.name} has SHA-256 {got}, not the expected {sha256}")


def own_tree(name: str, path: Path) -> Source:
    """A developer's tree: a git work tree as it stands, changes included, or a plain directory.

    Raises:
        UserError: there is no such tree, or it is something else.
    """
    path = path.expanduser().resolve()
    mark = {"xen": "xen/common/event_channel.c", "linux": "drivers/xen/events/events_base.c"}[name]
    if not (path / mark).is_file():
        raise UserError(
            f"{path} is not a {name} source tree: it has no {mark}",
            hint=f"give the top directory of the {name} tree.",
        )
    version, note = describe(path)
    return Source(name=name, version=version, origin=f"tree:{path}", tree=path, note=note)


def describe(path: Path) -> tuple[str, str]:
    """Version and note of an own tree: git's description and what is not committed."""
    if not is_git(path):
        return "unknown", "not a git tree"
    head = proc.run(
        ["git", "-C", path, "describe", "--always", "--tags", "--long"], what=f"describe {path}"
    ).strip()
    changed = proc.run(["git", "-C", path, "status", "--porcelain"], what=f"look at {path}").splitlines()
    note = f"{len(changed)} uncommitted changes" if changed else ""
    return head, note


def is_git(path: Path) -> bool:
    """Whether ``path`` is the top of a git work tree."""
    return (path / ".git").exists()


def content_of(path: Path) -> str:
    """Hash of an own tree's content: git's tree hash of the work tree as it stands, or of all files.

    Ignored files are left out; the user's index and object store are not touched.
    """
    if is_git(path):
        return write_tree(path)
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path)}\0{sha256_of(file)}\n".encode())
    return total.hexdigest()


def git_dir(path: Path) -> Path:
    """The directory that holds the objects of the git work tree at ``path``."""
    common = proc.run(
        ["git", "-C", path, "rev-parse", "--path-format=absolute", "--git-common-dir"],
        what=f"find the git directory of {path}",
    )
    return Path(common.strip())


def write_tree(path: Path, objects: Path | None = None) -> str:
    """Hash of a git tree with the work tree's present content.

    Args:
        objects: where objects that the repository lacks are written; they are thrown away if None.
    """
    with tempfile.TemporaryDirectory(prefix="evh-index-") as name:
        scratch = Path(name)
        index = scratch / "index"
        own = Path(
            proc.run(
                ["git", "-C", path, "rev-parse", "--path-format=absolute", "--git-path", "index"],
                what=f"find the index of {path}",
            ).strip()
        )
        if own.exists():
            # With its cached stat data: only changed files are read again.
            shutil.copy2(own, index)
        new = objects or scratch / "objects"
        new.mkdir(parents=True, exist_ok=True)
        env = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(new),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(git_dir(path) / "objects"),
        }
        proc.run(["git", "-C", path, "add", "--all", "."], what=f"take stock of {path}", env=env)
        return proc.run(["git", "-C", path, "write-tree"], what=f"take stock of {path}", env=env).strip()
