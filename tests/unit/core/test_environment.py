# SPDX-License-Identifier: GPL-2.0-or-later
"""Only known variables reach the programs that the harness runs, and those that are left out are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build.make import Make
from harness.core import process
from harness.core.environment import KEPT, left_out
from harness.core.progress import Progress

# Each of them changes what make builds, and none is in a store key.
FOR_BUILDS = (
    "KCFLAGS", "KCPPFLAGS", "KAFLAGS", "KBUILD_CFLAGS", "KCONFIG_ALLCONFIG", "LLVM", "LLVM_IAS",
    "CROSS_COMPILE", "ARCH", "CC", "LD", "HOSTCC", "HOSTCFLAGS", "CFLAGS", "CFLAGS_event_3l.o",
    "EXTRA_CFLAGS_XEN_CORE", "XEN_CONFIG_EXPERT", "XEN_TARGET_ARCH", "MAKEFLAGS", "GNUMAKEFLAGS",
    "C_INCLUDE_PATH", "CPATH", "LIBRARY_PATH", "COMPILER_PATH", "CCACHE_COMPILER", "CCACHE_PREFIX",
    "LOCALVERSION", "debug", "clang", "V",
)  # fmt: skip


def test_no_variable_for_builds_reaches_make_and_each_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@env\n\t@echo flags: $(MAKEFLAGS)\n")
    monkeypatch.delenv("MAKELEVEL", raising=False)
    for name in FOR_BUILDS:
        monkeypatch.setenv(name, "--eval=bad" if name.endswith("MAKEFLAGS") else "bad")
    log = tmp_path / "log"
    fixed = {"KBUILD_BUILD_HOST": "h"}
    Make([], cwd=tmp_path, log=log, jobs=1, progress=Progress(), name="x", env=fixed)("all")
    lines = log.read_text().splitlines()
    assert "KBUILD_BUILD_HOST=h" in lines and "LC_ALL=C.UTF-8" in lines
    assert not [line for line in lines if line.endswith("bad")]
    note = left_out()
    assert [name for name in FOR_BUILDS if name not in note] == []


def test_nothing_but_known_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("D", "SHELL", "GIT_DIR", "PYTHONPATH", "BASH_ENV", "LC_TIME", "LANGUAGE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    said = process.run(["env"], what="see the environment", env={"MINE": "1"})
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert {"PATH", "https_proxy", "MINE"} <= names <= KEPT | {"LC_ALL", "MINE"}


def test_what_make_itself_sets_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make run ARGS=...` sets MAKEFLAGS; `make run CC=clang` sets CC as well."""
    for name in ("CC", "MAKEFLAGS"):
        monkeypatch.delenv(name, raising=False)
    before = left_out()
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "w")
    assert left_out() == before
    monkeypatch.setenv("CC", "clang")
    assert "CC" in left_out().split(": ")[1].split(", ")
