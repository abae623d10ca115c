# SPDX-License-Identifier: GPL-2.0-or-later
"""The real bubblewrap."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.core import process
from harness.core.errors import EvhError, InfraError
from harness.validate import sandbox
from harness.validate.sandbox import Sandbox

needs_bwrap = pytest.mark.skipif(bool(sandbox.problem()), reason=sandbox.problem()[:200] or "it works")


def run(box: Sandbox, script: str, cwd: Path) -> str:
    return process.run(box.command(["sh", "-c", script], cwd=cwd), what="run it")


@needs_bwrap
def test_writes_only_to_what_is_named(tmp_path: Path) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    tree.mkdir()
    other.mkdir()
    box = Sandbox(writable=(tree,), readable=(other,))
    assert run(box, "echo x >made && cat made && pwd", tree) == f"x\n{tree}\n"
    assert (tree / "made").read_text() == "x\n"
    for place in (other, Path("/usr"), Path("/etc"), Path("/var/lib")):
        with pytest.raises(EvhError, match="Read-only file system"):
            run(box, f"echo x >{place}/evh-was-here", tree)
    run(box, "echo x >/tmp/evh-was-here && test -e /tmp/evh-was-here", tree)
    assert not Path("/tmp/evh-was-here").exists()


@needs_bwrap
def test_no_network(tmp_path: Path) -> None:
    script = "import socket; s = socket.socket(); s.settimeout(3); s.connect(('127.0.0.1', {}))"
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = script.format(server.getsockname()[1])
        words = ["python3", "-c", program]
        process.run(Sandbox(confined=False).command(words, cwd=tmp_path), what="connect")
        with pytest.raises(EvhError, match="Error"):
            process.run(Sandbox(writable=(tmp_path,)).command(words, cwd=tmp_path), what="connect")


@needs_bwrap
def test_neither_home_nor_other_processes_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("s")
    monkeypatch.setenv("HOME", str(home))
    tree = tmp_path / "tree"
    tree.mkdir()
    said = run(Sandbox(writable=(tree,)), f"ls {home} /run | wc -w; ls -d /proc/[0-9]* | wc -l", tree).split()
    assert said[0] == "2" and int(said[1]) < 6  # the two folders' names


def test_no_sandbox_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace'\nexit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sandbox.problem.cache_clear()
    try:
        with pytest.raises(InfraError, match="No permissions to create") as caught:
            sandbox.check()
        assert "--no-sandbox" in caught.value.hint
    finally:
        monkeypatch.undo()
        sandbox.problem.cache_clear()
