# SPDX-License-Identifier: GPL-2.0-or-later
"""The choice of the accelerator, on fake hosts."""

from pathlib import Path

import pytest
from fakes import make_host

from harness.core.errors import UserError
from harness.machine.accelerator import choose_accelerator


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kvm": False}, "there is no /dev/kvm"),
        ({"flags": "fpu sse svm_lock", "module": "kvm_pvm"}, "/proc/cpuinfo has no svm/vmx flag"),
        ({"module": "kvm_pvm"}, "neither kvm_intel nor kvm_amd"),
        ({"nested": "0"}, "nested=0"),
        ({"module": "kvm_intel", "flags": "vmx", "nested": "N"}, "nested=N"),
    ],
)
def test_tcg_and_why(tmp_path: Path, options: dict[str, str | bool], words: str) -> None:
    root = make_host(tmp_path, **options)  # type: ignore[arg-type]
    chosen = choose_accelerator(root=root)
    assert chosen.kind == "tcg"
    assert chosen.reason.startswith("TCG: ")
    assert words in chosen.reason
    with pytest.raises(UserError, match="KVM cannot run nested Xen here"):
        choose_accelerator(want="kvm", root=root)


def test_software_backend_is_named(tmp_path: Path) -> None:
    root = make_host(tmp_path, flags="fpu sse", module="kvm_pvm")
    assert choose_accelerator(root=root).reason == (
        "TCG: /dev/kvm exists but /proc/cpuinfo has no svm/vmx flag"
        " (a software backend cannot nest Xen)"
    )


@pytest.mark.parametrize(
    ("module", "flags", "nested"), [("kvm_amd", "svm", "1"), ("kvm_intel", "vmx ept", "Y")]
)
def test_kvm_has_to_be_proven_even_if_requested(
    tmp_path: Path, module: str, flags: str, nested: str
) -> None:
    root = make_host(tmp_path, module=module, flags=flags, nested=nested)
    chosen = choose_accelerator(root=root)
    assert (chosen.kind, chosen.proven) == ("kvm", False)
    assert chosen.reason.startswith(f"KVM: {module}")
    asked = choose_accelerator(want="kvm", root=root)
    assert (asked.proven, asked.reason) == (False, f"{chosen.reason}; requested")
    assert asked.line.endswith("; requested; a trial boot has yet to prove it")


def test_tcg_when_requested(tmp_path: Path) -> None:
    chosen = choose_accelerator(want="tcg", root=make_host(tmp_path))
    assert (chosen.kind, chosen.proven, chosen.line) == ("tcg", True, "accelerator: TCG: requested")


def test_unknown_accelerator() -> None:
    with pytest.raises(UserError, match="'hvf' is not known"):
        choose_accelerator(want="hvf")
