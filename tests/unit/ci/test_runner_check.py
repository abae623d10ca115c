# SPDX-License-Identifier: GPL-2.0-or-later
"""ci/runner-check, on hosts that lack something."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fakes import make_host

from harness.core.paths import CHECKOUT

PROGRAM = CHECKOUT / "ci" / "runner-check"


@pytest.fixture
def check(tmp_path: Path):
    make_host(tmp_path)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8388608 kB\n")

    def go(*words: str, **variables: str) -> tuple[int, str]:
        env = os.environ | {"ROOT": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")} | variables
        done = subprocess.run([str(PROGRAM), *words], env=env, capture_output=True, text=True)
        assert not done.stderr or done.returncode == 64, done.stderr
        return done.returncode, done.stdout

    return go


def test_host_with_everything(check) -> None:
    code, said = check("--disk", "0", "--need-kvm")
    assert code == 0 and "FAIL" not in said
    assert "memory: 8192 MiB" in said and "KVM: can nest" in said


def test_memory(check, tmp_path: Path) -> None:
    assert check("--disk", "0", "--memory", "8192")[0] == 0
    assert check("--disk", "0", "--memory", "8193")[0] == 1
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("2147483648\n")
    code, said = check("--disk", "0")
    assert code == 1 and "memory: 2048 MiB, a run needs 4608 MiB" in said
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert check("--disk", "0")[0] == 0


def test_disk_is_that_of_the_cache(check) -> None:
    free = os.statvfs("/tmp").f_bavail * os.statvfs("/tmp").f_frsize >> 30
    code, said = check("--disk", "900000")
    assert code == 2
    told = int(said.split("disk: ")[1].split(" ")[0])
    assert abs(told - free) <= 2


def test_user_namespaces(check, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/unshare").chmod(0o755)
    code, said = check("--disk", "0", RUNNER_UID="1000", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert code == 4 and "user namespaces: no" in said


def test_clock(check) -> None:
    code, said = check("--disk", "0", NOW="1000000000")
    assert code == 8 and "before this commit was made" in said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda root: (root / "dev/kvm").unlink(), "there is no /dev/kvm"),
        (lambda root: (root / "proc/cpuinfo").write_text("flags : fpu\n"), "no vmx or svm"),
        (lambda root: (root / "sys/module/kvm_amd/parameters/nested").write_text("0\n"), "nesting is off"),
    ],
)
def test_kvm_is_missing_only_if_it_is_asked_for(check, tmp_path: Path, change, why: str) -> None:
    change(tmp_path)
    code, said = check("--disk", "0")
    assert code == 0 and f"KVM: no, {said.split('KVM: no, ')[1]}" in said and why in said
    code, said = check("--disk", "0", "--need-kvm")
    assert code == 16 and why in said


def test_codes_add_up(check, tmp_path: Path) -> None:
    (tmp_path / "dev/kvm").unlink()
    assert check("--memory", "99999", "--disk", "900000", "--need-kvm", NOW="1")[0] == 1 + 2 + 8 + 16


@pytest.mark.parametrize("words", [("--memory",), ("--disk", "x"), ("--memory", "-1"), ("x",)])
def test_wrong_usage(check, words: tuple[str, ...]) -> None:
    assert check(*words)[0] == 64


def test_it_needs_no_bash() -> None:
    for program in ("runner-check", "morning"):
        subprocess.run(["dash", "-n", str(CHECKOUT / "ci" / program)], check=True)
