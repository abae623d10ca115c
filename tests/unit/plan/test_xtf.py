# SPDX-License-Identifier: GPL-2.0-or-later
"""How Xen is told to boot each of XTF's tests."""

from __future__ import annotations

import pytest

from harness.plan.xtf import PVH_ARGS, XtfTest


@pytest.mark.parametrize(
    ("test", "kernel", "xen_args"),
    [
        (XtfTest(name="pv64-a", category="xsa"), "test-pv64-a", "dom0=pv"),
        (XtfTest(name="pv64-argo", category="xsa"), "test-pv64-argo", "dom0=pv argo=1,mac-permissive=1"),
        (XtfTest(name="pv32pae-b~x", category="xsa"), "test-pv32pae-b", "dom0=pv"),
        (XtfTest(name="hvm32-xsa-7", category="xsa"), "test-hvm32-xsa-7", f"dom0=pvh {PVH_ARGS}"),
        (
            XtfTest(name="hvm64-a~shadow", category="xsa", paging="shadow"),
            "test-hvm64-a",
            f"dom0=pvh,shadow {PVH_ARGS}",
        ),
    ],
)
@pytest.mark.parametrize("accelerator", ["kvm", "tcg"])
def test_boot(test: XtfTest, kernel: str, xen_args: str, accelerator: str) -> None:
    assert (test.kernel, test.xen_args(accelerator=accelerator)) == (kernel, xen_args)


def test_32_bit_pae_hangs_in_emulated_nested_paging() -> None:
    test = XtfTest(name="hvm32pae-a", category="xsa")
    assert test.xen_args(accelerator="kvm") == f"dom0=pvh {PVH_ARGS}"
    assert test.xen_args(accelerator="tcg") == f"dom0=pvh,shadow {PVH_ARGS}"
    wanted = XtfTest(name="hvm32pae-a~hap", category="xsa", paging="hap")
    assert wanted.xen_args(accelerator="tcg") == f"dom0=pvh {PVH_ARGS}"
