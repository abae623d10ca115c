# SPDX-License-Identifier: GPL-2.0-or-later
"""The components: which artifacts make one up, and that every name of the plan is one."""

from __future__ import annotations

import pytest

from harness.build.components import COMPONENTS, Component, components_in
from harness.core.records import HVM, LINUX, WITHOUT_3L
from harness.plan.guests import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_guest_needs_components_that_exist(kind: str) -> None:
    assert KINDS[kind].components <= set(COMPONENTS)


def test_component_is_whole_with_its_last_artifact() -> None:
    one = Component(kinds=("a",), image={"kernel": ("b", "f"), "initrd": ("c", "g")}, dom0="d", xen="e")
    assert one.whole("abcde")
    for missing in "abcde":
        assert not one.whole("abcde".replace(missing, ""))


def test_components_in_a_store() -> None:
    assert components_in(()) == frozenset()
    assert components_in({"xen", "linux", "dom0-hvm"}) == {LINUX, HVM}
    assert components_in({"xen", "xen-without-3l"}) == {WITHOUT_3L}


def test_every_component_but_linux_is_made_by_itself() -> None:
    assert [name for name, one in COMPONENTS.items() if one.make is None] == [LINUX]
    assert not [name for name, one in COMPONENTS.items() if one.whole(())]
