# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the fault matrix: a store of its own, and the table that `make faults` writes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Fault, Row, table

from harness.build.graph import build
from harness.core.progress import Progress
from harness.store.artifacts import Store

ROWS = pytest.StashKey[list[Row]]()
# What of the store a run needs, without the source trees.
KINDS = [
    "bare", "dom0", "guest", "keys", "linux", "rootfs", "source-linux", "source-xen", "tools", "xen",
    "stamps", "libvirt-qemu",
]  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE", help="write the table between FILE's markers")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.addinivalue_line("markers", "quick: part of `make test`")


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--faults-table")
    rows = session.config.stash[ROWS]
    if file and rows:
        path = Path(file)
        head, begin, rest = path.read_text().partition("<!-- faults: begin -->\n")
        _, end, tail = rest.partition("<!-- faults: end -->")
        assert begin and end, f"{file} has no markers"
        path.write_text(head + begin + table(rows) + end + tail)


@pytest.fixture(scope="session")
def whole_store() -> Path:
    """The user's store, with everything that a run boots."""
    store = Store()
    build(store=store, progress=Progress())
    return store.root


def copied(store: Path, cache: Path) -> None:
    """A store in `cache` with the same artifacts, as hard links where that is possible."""
    home = cache / "evtchn-harness"
    home.mkdir(parents=True)
    for kind in KINDS:
        if (store / kind).exists():
            command = ["cp", "--archive", "--link", str(store / kind), str(home)]
            if subprocess.run(command, capture_output=True).returncode:
                shutil.rmtree(home / kind, ignore_errors=True)
                shutil.copytree(store / kind, home / kind, symlinks=True)
    for half in home.glob("*/.*-*"):  # of a build that was killed, or is under way
        shutil.rmtree(half, ignore_errors=True)


@pytest.fixture(scope="session")
def cache(whole_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parent folder of a store that these tests share, so that no other run holds its locks."""
    cache = tmp_path_factory.mktemp("cache")
    copied(whole_store, cache)
    return cache


@pytest.fixture
def own_cache(whole_store: Path, tmp_path: Path) -> Path:
    """Parent folder of a store that one test may damage."""
    cache = tmp_path / "own-cache"
    copied(whole_store, cache)
    return cache


@pytest.fixture
def fault(request: pytest.FixtureRequest, tmp_path: Path, cache: Path) -> Iterator[Fault]:
    folder = tmp_path / "work"
    folder.mkdir()
    one = Fault(folder, cache, request.config.stash[ROWS])
    yield one
    one.clean_up()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mount point; `mount(folder, size)` puts a small disk there. Needs root."""
    if os.getuid():
        pytest.skip("only root can mount a small disk")
    mounted: list[Path] = []

    class Disk:
        def mount(self, path: Path, size: str) -> Path:
            path.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
            mounted.append(path)
            return path

    yield Disk()  # type: ignore[misc]
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
