# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh doctor` on a host that lacks something."""

import dataclasses
from pathlib import Path

from fakes import make_host

from harness.dev.doctor import doctor


def test_doctor_gives_a_next_step_for_each_problem(tmp_path: Path) -> None:
    root = make_host(tmp_path, kvm=False)
    (root / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    3145728 kB\n")
    checks = {check.name: check for check in doctor(store=tmp_path, root=root)}
    assert {"qemu", "libvirt", "memory", "disk", "cores", "accelerator", "sources"} <= set(checks)
    for check in checks.values():
        assert check.status in ("ok", "warn", "fail")
        assert check.text
        assert check.status == "ok" or check.next_step
    assert checks["memory"].status == "fail"
    assert checks["memory"].text.startswith("3.0 GiB")
    assert dataclasses.is_dataclass(checks["disk"])
