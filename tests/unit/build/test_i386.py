# SPDX-License-Identifier: GPL-2.0-or-later
"""The 32-bit guests: the tools that they get exist, and their images are where they are looked for."""

from __future__ import annotations

import pytest

from harness.build import i386
from harness.core.paths import CHECKOUT
from harness.plan.guests import KINDS


@pytest.mark.parametrize("tool", i386.TOOLS)
def test_tool_has_a_source(tool: str) -> None:
    assert (CHECKOUT / f"images/tools/{tool}.c").is_file()


def test_only_hvm_guests_need_an_initramfs_beside_the_kernel() -> None:
    places = {i386.COMPONENT: i386.PLACES, i386.HVM_COMPONENT: i386.HVM_PLACES}
    narrow = {kind.component: kind.type for kind in KINDS.values() if not kind.wide}
    assert {component: "initrd" in places[component] for component in narrow} == {
        component: type == "hvm" for component, type in narrow.items()
    }
