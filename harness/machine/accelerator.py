# SPDX-License-Identifier: GPL-2.0-or-later
"""Choose QEMU's accelerator: KVM if this host's KVM supports nesting, else TCG. See proof.py, too."""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.core.errors import UserError
from harness.core.records import Accelerator


def choose_accelerator(*, want: str = "auto", root: Path = Path("/")) -> Accelerator:
    """Choose QEMU's accelerator, and record the reason.

    Args:
        want: ``auto``, ``kvm`` or ``tcg``. ``auto`` chooses KVM only if this host's KVM
            claims to support nesting.
        root: folder that contains proc, sys and dev.
    Returns: the choice; KVM is not yet `proven`.
    Raises: UserError: `want` is ``kvm`` but KVM is unusable, or `want` is none of the three.
    """
    if want not in ("auto", "kvm", "tcg"):
        raise UserError(f"accelerator {want!r} is not known", hint="known: auto, kvm, tcg")
    if want == "tcg":
        return Accelerator(kind="tcg", reason="TCG: requested")
    module, missing = _nested_kvm(root)
    if missing and want == "kvm":
        raise UserError(
            f"KVM cannot run nested Xen here: {missing}",
            hint="set the accelerator to `auto`, which falls back to TCG; `evh doctor` gives details",
        )
    if missing:
        return Accelerator(kind="tcg", reason=f"TCG: {missing}")
    reason = f"KVM: {module} with nested virtualisation; /dev/kvm can be opened"
    if want == "kvm":
        reason += "; requested"
    return Accelerator(kind="kvm", reason=reason, proven=False)


def _nested_kvm(root: Path) -> tuple[str, str]:
    """(KVM's vendor module, "") or ("", why KVM cannot nest Xen)."""
    device = root / "dev/kvm"
    if not device.exists():
        return "", "there is no /dev/kvm"
    flags = _cpu_flags(root)
    if not flags & {"svm", "vmx"}:
        return "", (
            "/dev/kvm exists but /proc/cpuinfo has no svm/vmx flag"
            " (a software backend cannot nest Xen)"
        )
    for module in ("kvm_amd", "kvm_intel"):
        folder = root / "sys/module" / module
        if not folder.is_dir():
            continue
        try:
            nested = (folder / "parameters/nested").read_text().strip()
        except OSError:
            nested = "unknown"
        if nested not in ("Y", "1"):
            return "", f"{module} has nested={nested} (load it with nested=1)"
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return "", f"/dev/kvm cannot be opened ({error.strerror}; join the group `kvm`)"
        return module, ""
    return "", "/dev/kvm exists but neither kvm_intel nor kvm_amd is loaded"


def _cpu_flags(root: Path) -> set[str]:
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return set()
    found = re.search(r"^flags\s*:\s*(.*)$", text, re.MULTILINE)
    return set(found.group(1).split()) if found else set()

