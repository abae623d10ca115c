# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build needs from the host."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.build import compilers
from harness.core import process
from harness.core.errors import InfraError


def test_compiler_names_gcc_and_the_linker() -> None:
    gcc, linker = compilers.compiler().split("; ")
    assert gcc.startswith("gcc ") and linker.startswith("GNU ld ")


def test_all_missing_packages_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"flex", "ld", "xz"}
    monkeypatch.setattr(process, "find", lambda name: None if name in missing else f"/usr/bin/{name}")
    monkeypatch.setattr(compilers, "HEADERS", {"no-such-header.h": "libelf-dev"})
    with pytest.raises(InfraError, match="not installed: binutils flex libelf-dev xz-utils") as caught:
        compilers.check_programs()
    assert "make setup" in caught.value.hint


def test_host_with_everything_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(compilers, "HEADERS", {})
    compilers.check_programs()


def test_space_is_checked_before_it_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.shutil, "disk_usage", lambda root: SimpleNamespace(free=1499 << 20))
    compilers.check_space(tmp_path / "store", mib=1499, what="building xen")
    with pytest.raises(InfraError, match=r"needs 1500 MiB in .*, but only 1499 MiB are free"):
        compilers.check_space(tmp_path / "store", mib=1500, what="building xen")


def test_cores_are_those_that_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert compilers.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
