# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources: recorded output of apt, and downloads from a local server that misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.source import apt, bases
from harness.source.debian import from_pool, newest_first, parse_showsrc
from harness.source.fetch import fetch
from harness.store.artifacts import Store

LOGS = Path(__file__).parents[1] / "logs"
CONTENT = b"a tarball, as it were" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT complete, cut short or altered, depending on the requested name."""

    def do_GET(self) -> None:
        if "absent" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = CONTENT[:-1] + b"!" if "altered" in self.path else CONTENT
        self.wfile.write(body[:5000] if "short" in self.path else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "mirror", lambda: None)


def base(tmp_path: Path, *urls: str) -> bases.Base:
    text = 'component = "xen"\nseries = "4.20"\n[debian]\npackage = "xen"\nsuites = ["trixie"]\n'
    for url in urls:
        text += f'[[upstream]]\nversion = "4.20.1"\nurl = "{url}"\nsha256 = "{SHA}"\n'
    (tmp_path / "base.toml").write_text(text)
    return bases.load(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def progress() -> Progress:
    return Progress(io.StringIO())


def test_upstream_is_verified_and_remembered(
    server: str, store: Store, progress: Progress, tmp_path: Path
) -> None:
    wanted = base(tmp_path, f"{server}/xen.tar.gz")
    source = fetch(wanted, store=store, progress=progress)
    assert (source.version, source.sha256) == ("4.20.1", SHA)
    assert source.tarball is not None and source.tarball.read_bytes() == CONTENT


def test_the_second_time_needs_no_network(
    server: str, store: Store, progress: Progress, tmp_path: Path
) -> None:
    wanted = base(tmp_path, f"{server}/xen.tar.gz")
    first = fetch(wanted, store=store, progress=progress)

    def fail(*_: object) -> None:
        raise AssertionError("asked the network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.source.download.download_url", fail)
        assert fetch(wanted, store=store, progress=progress) == first


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("short", "cut short: 5000 of"),
        ("altered", "has SHA-256"),
        ("absent", "cannot be downloaded"),
    ],
)
def test_a_bad_download_is_an_error_and_leaves_nothing(
    server: str, store: Store, progress: Progress, tmp_path: Path, name: str, says: str
) -> None:
    with pytest.raises(InfraError, match=says) as caught:
        fetch(base(tmp_path, f"{server}/{name}.tar"), store=store, progress=progress)
    assert "--xen-tree" in caught.value.hint
    assert "Debian" in caught.value.message
    assert list((store.root / "source-xen").iterdir()) == []


def test_the_next_place_is_tried_and_the_note_says_so(
    server: str, store: Store, progress: Progress, tmp_path: Path
) -> None:
    wanted = base(tmp_path, f"{server}/altered.tar", f"{server}/good.tar")
    source = fetch(wanted, store=store, progress=progress)
    assert source.origin == f"{server}/good.tar"
    assert "altered.tar: " in source.note and "has SHA-256" in source.note


def known_base(tmp_path: Path, *versions: str) -> bases.Base:
    """A base with known Debian tarballs, but neither suites nor upstream to fall back on."""
    text = 'component = "xen"\nseries = "4.20"\n[debian]\npackage = "xen"\nsuites = []\n'
    for version in versions:
        text += f'[[debian.known]]\nversion = "{version}"\nsha256 = "{SHA}"\n'
    (tmp_path / "base.toml").write_text(text)
    return bases.load(tmp_path)


def test_a_known_tarball_comes_out_of_the_pool_whatever_the_index_lists(
    server: str, store: Store, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "mirror", lambda: apt.Mirror(uri=f"{server}/debian/", keyring=Path("k")))
    wanted = known_base(tmp_path, "4.20.4+absent", "4.20.3+altered", "4.20.2+1-gabc")
    source = fetch(wanted, store=store, progress=progress)
    assert (source.version, source.origin) == ("4.20.2+1-gabc", "apt:pool:xen=4.20.2+1-gabc")
    assert source.tarball is not None and source.tarball.name == "xen_4.20.2+1-gabc.orig.tar.xz"
    assert "4.20.4+absent: cannot be downloaded" in source.note
    assert "4.20.3+altered: " in source.note and "has SHA-256" in source.note
    assert [p.name for p in source.tarball.parent.glob("*.tar.xz")] == [source.tarball.name]


@pytest.mark.parametrize("package", ["xen", "libvirt"])
def test_where_a_pool_has_a_package(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("harness.source.download.download_url", lambda url, target: asked.append(url))
    monkeypatch.setattr("harness.source.download.verify", lambda *_: None)
    base = known_base(tmp_path, "4.20.1")
    (tmp_path / "base.toml").write_text(base.text.replace('package = "xen"', f'package = "{package}"'))
    base = bases.load(tmp_path)
    mirror = apt.Mirror(uri="http://m/debian", keyring=Path("k"))
    from_pool(base, base.file.debian.known[0], mirror, tmp_path)
    folder = {"xen": "x", "libvirt": "libv"}[package]
    assert asked == [f"http://m/debian/pool/main/{folder}/{package}/{package}_4.20.1.orig.tar.xz"]


def test_versions_out_of_showsrc() -> None:
    listed = parse_showsrc((LOGS / "showsrc-linux.txt").read_text())
    assert [v.upstream for v in newest_first(listed)] == [
        "6.12.107", "6.12.101", "6.12.94", "6.12.38", "6.12.8",
    ]
    newest = newest_first(listed)[0]
    assert newest.tarball == "linux_6.12.107.orig.tar.xz"
    assert newest.sha256 == "efc76d3c78a5d65f42724118c437d11db1c9f6309a5f024ee9a8b1978fdc6919"


def test_xens_version_with_a_snapshot_in_it() -> None:
    (listed,) = parse_showsrc((LOGS / "showsrc-xen.txt").read_text())
    assert listed.version == "4.20.3+127-gc42374a105-0+deb13u1"
    assert listed.upstream == "4.20.3+127-gc42374a105"
    assert bases.in_series(listed.upstream, "4.20")


@pytest.mark.parametrize(
    ("targets", "uri"),
    [
        ("http://a/debian/|Debian|Debian|main\nhttp://b/x|Other|Other|main", "http://a/debian/"),
        ("http://s/debian-security|Debian|Debian-Security|main\nhttp://a/d|Debian|Debian|main", "http://a/d"),
        ("http://u/ubuntu|Ubuntu|Ubuntu|main", None),
        # Before the first apt-get update, apt does not know the origin.
        ("http://a/debian|$(ORIGIN)|$(LABEL)|main", "http://a/debian"),
        ("http://a/debian|Debian|Debian|contrib", None),
        ("", None),
    ],
)
def test_which_mirror_is_debian(targets: str, uri: str | None) -> None:
    assert apt.pick_mirror(targets) == uri


def git(*words: str | Path) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ["git", *identity, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    git("init", "--quiet", path)
    for content in ("old", "new"):
        (path / "file").write_text(content)
        git("-C", path, "add", "file")
        git("-C", path, "commit", "--quiet", "-m", content)
    return path


def git_base(tmp_path: Path, url: str, commit: str) -> bases.Base:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "base.toml").write_text(
        'component = "xen"\nseries = "4.20"\n[debian]\npackage = "xen"\nsuites = ["trixie"]\n'
        f'[[upstream]]\nversion = "4.20.1"\nurl = "{url}"\ncommit = "{commit}"\n'
    )
    return bases.load(folder)


def test_a_commit_of_a_git_repository(tmp_path: Path, repository: Path) -> None:
    commit = git("-C", repository, "rev-parse", "HEAD~1")
    store = Store(tmp_path / "store")
    source = fetch(
        git_base(tmp_path, f"file://{repository}", commit), store=store, progress=Progress()
    )
    assert source.origin == f"file://{repository}@{commit}"
    assert source.tarball is not None
    with tarfile.open(source.tarball) as tar:
        member = tar.extractfile("xen-4.20.1/file")
        assert member is not None and member.read() == b"old"
    assert hashlib.sha256(source.tarball.read_bytes()).hexdigest() == source.sha256
    assert sorted(p.name for p in source.tarball.parent.iterdir() if p.name.startswith("git-")) == []


def test_a_commit_that_is_not_there(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(InfraError, match="fetch 0123456789ab") as error:
        fetch(
            git_base(tmp_path, f"file://{repository}", "0123456789abcdef" * 2 + "01234567"),
            store=Store(tmp_path / "store"),
            progress=Progress(),
        )
    assert "--xen-tree" in error.value.hint
