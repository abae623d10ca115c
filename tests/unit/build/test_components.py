# SPDX-License-Identifier: GPL-2.0-or-later
"""The components: which artifacts make one up, and that every name of the plan is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import xen_tree

from harness.build import components
from harness.build.builder import Builder
from harness.build.components import COMPONENTS, Component, components_in
from harness.build.recipes import Recipe, recipes
from harness.core.progress import Progress
from harness.core.records import HVM, LINUX, WITHOUT_3L, XEN_BASE, Source, Trees
from harness.plan.guests import KINDS
from harness.store.artifacts import Store


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


def test_only_hypervisors_need_no_linux() -> None:
    assert {name for name, one in COMPONENTS.items() if not one.needs_linux} == {WITHOUT_3L, XEN_BASE}


@pytest.mark.parametrize("own", [False, True], ids=["series", "own tree"])
def test_base_is_the_pristine_xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """Also if the Xen under test is a developer's tree, which is not what the base is made of."""
    tree = xen_tree(tmp_path / "mine")
    given = Source(name="xen", version="4.20.3", origin="apt:trixie:4.20.3-1")
    fetched = Source(name="xen", version="4.20.3", origin="apt:sid:4.20.3-1")
    asked: list[Recipe] = []
    monkeypatch.setattr(components, "source_of", lambda recipe, **_: asked.append(recipe) or fetched)
    made: list[tuple[str, Source]] = []
    monkeypatch.setattr(Builder, "kernel", lambda self, name, source: made.append((name, source)))
    wanted = recipes(Trees(xen_tree=tree if own else None), flavour="debug")
    builder = Builder(store=Store(tmp_path), progress=Progress(), wanted=wanted, jobs=1)
    builder.sources["xen"] = given
    make = COMPONENTS[XEN_BASE].make
    assert make is not None
    make(builder)
    recipe = builder.wanted[XEN_BASE]
    assert (recipe.patches, recipe.tree, recipe.stock, recipe.flavour) == ((), None, True, "debug")
    assert recipe.fragments == wanted["xen"].fragments
    assert made == [(XEN_BASE, fetched if own else given)]
    assert asked == ([recipe] if own else [])
    assert (XEN_BASE in builder.sources) is own
