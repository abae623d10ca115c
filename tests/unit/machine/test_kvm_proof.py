# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM is proven by a trial boot before anything uses it; tests/system boots real ones."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import fake_built, make_host

from harness.core.errors import InfraError
from harness.core.records import Accelerator, Built
from harness.machine import kvm_proof
from harness.machine.accelerator import choose_accelerator
from harness.machine.kvm_proof import _Trial, prove


@pytest.fixture
def chosen(tmp_path: Path) -> Accelerator:
    """The choice on a host whose KVM looks usable."""
    (tmp_path / "host").mkdir()
    return choose_accelerator(root=make_host(tmp_path / "host"))


def goes(monkeypatch: pytest.MonkeyPatch, trial: _Trial) -> None:
    monkeypatch.setattr(kvm_proof, "_boot_bare", lambda *words: trial)


def test_what_is_proven_or_emulated_is_not_booted_again(tmp_path: Path) -> None:
    for one in (Accelerator(kind="tcg", reason="TCG: x"), Accelerator(kind="kvm", reason="KVM: x")):
        assert prove(one, built=fake_built(), run_dir=tmp_path, fall_back=True) is one


@pytest.mark.parametrize("fall_back", [True, False])
def test_a_good_trial_proves(
    tmp_path: Path, chosen: Accelerator, monkeypatch: pytest.MonkeyPatch, fall_back: bool
) -> None:
    goes(monkeypatch, _Trial())
    got = prove(chosen, built=fake_built(), run_dir=tmp_path, fall_back=fall_back)
    assert (got.kind, got.proven) == ("kvm", True)
    assert got.reason.startswith(f"{chosen.reason}; proven by a trial boot of Xen in ")


@pytest.mark.parametrize("crashed", [True, False])
def test_a_bad_trial_means_tcg_and_the_reason_says_so(
    tmp_path: Path, chosen: Accelerator, monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    goes(monkeypatch, _Trial(problem="hung (no first line)", crashed=crashed))
    got = prove(chosen, built=fake_built(), run_dir=tmp_path, fall_back=True)
    assert (got.kind, got.proven) == ("tcg", True)
    assert got.line == (
        "accelerator: TCG: KVM looked usable, but a trial boot of Xen on it hung (no first line)"
    )


def test_a_requested_kvm_that_hangs_is_the_hosts_error_and_no_hang_of_xen(
    tmp_path: Path, chosen: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes(monkeypatch, _Trial(problem="hung (no first line)"))
    with pytest.raises(InfraError, match="KVM was requested, but a trial boot of Xen on it hung"):
        prove(chosen, built=fake_built(), run_dir=tmp_path, fall_back=False)


def test_a_xen_that_panics_on_a_requested_kvm_is_for_the_tests_to_judge(
    tmp_path: Path, chosen: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes(monkeypatch, _Trial(problem="failed ((XEN) Panic on CPU 0:)", crashed=True))
    got = prove(chosen, built=fake_built(), run_dir=tmp_path, fall_back=False)
    assert (got.kind, got.proven) == ("kvm", True)
    assert got.reason.endswith("a trial boot of Xen failed ((XEN) Panic on CPU 0:)")


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="no QEMU")
def test_real_qemu_that_cannot_boot_is_no_proof(tmp_path: Path, chosen: Accelerator) -> None:
    """Whether this host has a KVM or not: no Xen boots from an empty file."""
    xen, bare = tmp_path / "xen", tmp_path / "bare"
    xen.touch()
    bare.mkdir()
    (bare / "bare-pv64").touch()
    built: Built = replace(fake_built(), xen=xen, bare=bare)
    got = prove(chosen, built=built, run_dir=tmp_path / "proof", fall_back=True)
    assert (got.kind, got.proven) == ("tcg", True)
    assert "a trial boot of Xen on it failed (" in got.reason
    assert os.listdir(tmp_path / "proof") == ["console-bare-pv64-conformance-lowest_free_port_first.log"]  # noqa: PTH208
