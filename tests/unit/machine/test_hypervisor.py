# SPDX-License-Identifier: GPL-2.0-or-later
"""The embedded driver's root folder and libvirt's connection; the driver itself runs in a child process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core import paths
from harness.core.errors import InfraError, UserError
from harness.machine import hypervisor, reaper
from harness.machine.hypervisor import Hypervisor, roots_folder

# libvirt opens one embed root per process, which stays for the process' life: hence a child.
CHILD = """
import json, os
from harness.core.errors import InfraError
from harness.machine import hypervisor, reaper
start, watchers = reaper.start_watcher, []
reaper.start_watcher = lambda root: watchers.append(start(root)) or watchers[-1]
cpus = os.sched_getaffinity(0)
opened, again = hypervisor.open_hypervisor(), hypervisor.open_hypervisor()
identity = hypervisor.qemu_identity()
try:
    hypervisor.open_hypervisor("nosuch:///x")
    refused = "", ""
except InfraError as error:
    refused = error.message, error.hint
print(json.dumps({
    "type": opened.connection.getType(),
    "uri": opened.connection.getURI(),
    "links": str(opened.links),
    "again": str(again.links),
    "embedded": opened.embedded,
    "secmodels": opened.secmodels(),
    "refused": refused,
    "watcher": watchers[0],
    "identity": [identity.version, identity.text, identity.libvirt],
    "same_cpus": cpus == os.sched_getaffinity(0),
}), flush=True)
input()
del opened, again  # at exit libvirt's module would be gone before them
"""


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A folder with a short path: a socket's path ends at 108 bytes, and pytest's own folders are longer."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def opened(folder: Path) -> Iterator[SimpleNamespace]:
    """A child that opened the embedded driver, and what it said; it ends after a line of input."""
    env = os.environ | {
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(paths.CHECKOUT),
    }
    env.pop("LIBVIRT_LOG_OUTPUTS", None)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    line = child.stdout.readline()
    if not line:
        pytest.fail(child.communicate()[1])
    said = json.loads(line)
    watcher = os.pidfd_open(said["watcher"])
    try:
        yield SimpleNamespace(child=child, root=Path(said["links"]), watcher_handle=watcher, **said)
    finally:
        if child.poll() is None:
            child.communicate("\n")
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watcher, signal.SIGKILL)
        os.close(watcher)


@pytest.fixture(scope="module")
def driver(short: Path) -> Iterator[SimpleNamespace]:
    with opened(short) as child:
        yield child


def test_embedded_driver_is_opened_below_one_root_per_process(driver: SimpleNamespace, short: Path) -> None:
    assert driver.type == "QEMU"
    assert driver.uri == f"qemu:///embed?root={driver.links}"
    assert driver.again == driver.links
    assert driver.root.parent == short / "evh"
    assert driver.embedded
    assert driver.secmodels == []


def test_root_is_locked_while_its_process_lives(driver: SimpleNamespace) -> None:
    with (driver.root / reaper.LOCK).open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_qemu_conf_asks_root_for_nothing_that_a_bare_container_lacks(driver: SimpleNamespace) -> None:
    """An ordinary user must not set user and group, which libvirt then refuses to change."""
    text = (driver.root / "etc" / "qemu.conf").read_text()
    assert 'stdio_handler = "file"' in text
    for line in ('user = "root"', 'security_driver = "none"', "namespaces = []", "cgroup_controllers = []"):
        assert (line in text) == (os.getuid() == 0)


def test_capabilities_are_kept_from_run_to_run(driver: SimpleNamespace, short: Path) -> None:
    link = driver.root / "cache" / "qemu"
    assert link.resolve() == (short / "cache" / "evtchn-harness" / "libvirt-qemu").resolve()
    assert link.is_dir()


def test_calling_thread_gets_its_cpus_back(driver: SimpleNamespace) -> None:
    assert driver.same_cpus


def test_uri_that_libvirt_does_not_open_is_an_error_with_a_next_step(driver: SimpleNamespace) -> None:
    message, hint = driver.refused
    assert message.startswith("libvirt: cannot open nosuch:///x: ")
    assert "virsh" in hint


def test_root_goes_with_its_process_and_libvirt_prints_nothing(short: Path) -> None:
    """Errors of libvirt are raised (the child meets one); on stderr they would be shown twice."""
    with opened(short) as driver:
        assert driver.root.exists()
        assert driver.child.communicate("\n")[1] == ""
        assert select.select([driver.watcher_handle], [], [], 10)[0], "the watcher did not end"
    assert not driver.root.exists()
    assert driver.root.parent.exists(), "other processes have roots there"


def test_without_a_writable_cache_the_driver_starts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    root = tmp_path / "root"
    root.mkdir()
    hypervisor._share_capabilities_cache(root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("runtime", "temporary", "want"),
    [
        ("run", "tmp", "run/evh"),
        ("", "tmp", f"tmp/evh-{os.getuid()}"),
        ("missing", "tmp", f"tmp/evh-{os.getuid()}"),
        ("with space", "tmp", f"tmp/evh-{os.getuid()}"),
        ("long" * 10, "tmp", f"tmp/evh-{os.getuid()}"),
        ("", "with space", f"/tmp/evh-{os.getuid()}"),
        ("", "long" * 10, f"/tmp/evh-{os.getuid()}"),
    ],
)
def test_roots_folder_has_a_short_path_without_spaces(
    short: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, temporary: str, want: str
) -> None:
    for name in ("run", "tmp", "with space", "long" * 10):
        (short / name).mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / runtime) if runtime else "")
    monkeypatch.setattr(tempfile, "tempdir", str(short / temporary))
    folder = roots_folder()
    assert folder == short / want
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["group can write", "all can write", "link"])
def test_roots_folder_that_others_control_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    runtime = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        if how == "link":
            (runtime / "evh").symlink_to(tmp_path)
        else:
            (runtime / "evh").mkdir()
            (runtime / "evh").chmod(0o770 if how.startswith("group") else 0o702)
        with pytest.raises(InfraError, match="others can write") as caught:
            roots_folder()
        assert str(runtime / "evh") in caught.value.hint
    finally:
        shutil.rmtree(runtime)


def test_libvirt_on_another_host_is_refused_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypervisor, "process_root", lambda: pytest.fail("a root was made"))
    with pytest.raises(UserError, match="another host") as caught:
        hypervisor.open_hypervisor("qemu+ssh://lab7/system")
    assert caught.value.hint == "run evh on lab7"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this host has one CPU")
def test_connection_is_made_on_one_cpu_and_the_others_come_back_after_an_error() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), hypervisor._on_one_cpu():
        assert os.sched_getaffinity(0) == {min(before)}
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(("embedded", "want"), [(False, ["dac", "apparmor"]), (True, [])])
def test_security_models_are_those_that_a_daemon_enforces(
    tmp_path: Path, embedded: bool, want: list[str]
) -> None:
    models = ("<model>none</model><doi>0</doi>", "<model>dac</model>", "<model>apparmor</model>", "<model/>")
    host = "".join(f"<secmodel>{model}</secmodel>" for model in models)
    connection: Any = SimpleNamespace(
        getCapabilities=lambda: f"<capabilities><host>{host}</host></capabilities>"
    )
    assert Hypervisor(connection=connection, links=tmp_path, embedded=embedded).secmodels() == want


def test_qemu_is_known_by_its_version_and_its_file(driver: SimpleNamespace) -> None:
    version, text, libvirt = driver.identity
    program = Path(text.split()[0])
    assert program.name == "qemu-system-x86_64"
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    assert f"version {'.'.join(map(str, version))}" in said
    assert str(program.stat().st_mtime_ns) in text.split()
    assert int(libvirt) > 0
