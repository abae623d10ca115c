# SPDX-License-Identifier: GPL-2.0-or-later
"""The pristine tarball: which place it comes from, and what each other one answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import CONTENT, SHA, known_base

from harness.core.errors import InfraError
from harness.core.progress import Progress
from harness.source import apt, bases
from harness.source.fetch import fetch
from harness.store.artifacts import Store

pytestmark = pytest.mark.usefixtures("no_debian")


def base(tmp_path: Path, *urls: str) -> bases.Base:
    text = 'component = "xen"\nseries = "4.20"\n[debian]\npackage = "xen"\nsuites = ["trixie"]\n'
    for url in urls:
        text += f'[[upstream]]\nversion = "4.20.1"\nurl = "{url}"\nsha256 = "{SHA}"\n'
    (tmp_path / "base.toml").write_text(text)
    return bases.load(tmp_path)


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
