# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding and connecting to a machine that another process keeps up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import UserError
from harness.core.locks import using
from harness.machine import attach


def kept(folder: Path) -> Any:
    """A fake machine with one guest, as attachable() needs it."""
    for name in ("key", "host_key.pub"):
        (folder / name).write_text("ssh-ed25519 AAAA test\n")
    guest = SimpleNamespace(ssh=SimpleNamespace(address=("192.168.77.2", 22)))
    return SimpleNamespace(
        dom0=SimpleNamespace(address=("127.0.0.1", 40022)),
        guests={"pv64": guest},
        built=SimpleNamespace(ssh_key=folder / "key", host_key=folder / "host_key.pub"),
    )


def test_machine_can_be_found_while_it_is_kept_and_not_after(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    with using(run), attach.attachable(kept(tmp_path), run):
        ((folder, record),) = attach.running(tmp_path / "runs")
        assert folder == run
        assert record.endpoints["dom0"] == attach.Endpoint(host="127.0.0.1", port=40022)
        assert record.endpoints["pv64"] == attach.Endpoint(host="192.168.77.2", port=22)
    assert list(attach.running(tmp_path / "runs")) == []
    assert list(run.iterdir()) == []


def test_record_of_a_killed_process_is_ignored(tmp_path: Path) -> None:
    """Its process id may belong to another process by now: here, to this one."""
    run = tmp_path / "a"
    run.mkdir()
    with attach.attachable(kept(tmp_path), run):
        assert f'"pid": {os.getpid()}' in (run / attach.ATTACH_JSON).read_text()
        assert list(attach.running(tmp_path)) == []


def test_incomplete_record_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / attach.ATTACH_JSON).write_text('{"pid": 1')
    assert list(attach.running(tmp_path)) == []


def test_unknown_host_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    with using(run), attach.attachable(kept(tmp_path), run):
        ((_, record),) = attach.running(tmp_path / "runs")
        with pytest.raises(UserError) as caught:
            attach.connect(record, "pvh64")
    assert "dom0, pv64" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "name", "port"), [("dom0", "127.0.0.1", "40022"), ("pv64", "192.168.77.2", "22")]
)
def test_ssh_itself_understands_the_config(tmp_path: Path, host: str, name: str, port: str) -> None:
    run = tmp_path / "with a space"
    run.mkdir()
    with attach.attachable(kept(tmp_path), run) as config:
        try:
            got = subprocess.run(
                ["ssh", "-G", "-F", config, host], capture_output=True, text=True, check=True
            )
        except FileNotFoundError:
            pytest.skip("no ssh on this host")
    options = dict(line.split(" ", 1) for line in got.stdout.splitlines() if " " in line)
    assert (options["hostname"], options["port"], options["user"]) == (name, port, "root")
    assert options["userknownhostsfile"].strip('"') == str(run / "known_hosts")
    assert options["hostkeyalias"] == attach.HOST_ALIAS
    assert ("proxycommand" in options) == (host != "dom0")
