# SPDX-License-Identifier: GPL-2.0-or-later
"""Store keys: which changes of the code make a new recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import linux_tree, xen_tree

from harness.build import images, linux, make, pvh_elf, recipes, stock, xen
from harness.core.errors import UserError
from harness.core.records import Source, Trees
from harness.plan.flavours import FLAVOURS
from harness.source import bases

SOURCE = '''"""A module."""

import os  # for the directory


def f(a: int) -> str:
    """Say it."""
    # why
    return f"{a}#{os.sep}"
'''


@pytest.mark.parametrize(
    "same",
    [
        SOURCE.replace("# why", "# another reason"),
        SOURCE.replace('"""Say it."""', '"""Tell it,\n\n    at length.\n    """'),
        SOURCE.replace("import os  # for the directory", "import os\nimport sys"),
        SOURCE.replace("\n\n\n", "\n"),
    ],
)
def test_words_and_imports_are_no_other_recipe(same: str) -> None:
    assert same != SOURCE
    assert recipes.statements_of(same) == recipes.statements_of(SOURCE)


@pytest.mark.parametrize(
    "other", [SOURCE.replace("{a}#", "{a}!"), SOURCE.replace("a: int", "a: str"), SOURCE + "\nf(1)\n"]
)
def test_other_statements_are_another_recipe(other: str) -> None:
    assert recipes.statements_of(other) != recipes.statements_of(SOURCE)


def test_stores_made_before_the_modules_moved_still_serve() -> None:
    """These are the keys of the same recipes at commit 3770a5a, before the modules moved.

    When a recipe's output changes, remove it from this list.
    """
    assert recipes.recipe_of(xen, make).startswith("ae3aeae16207")
    assert recipes.recipe_of(linux, make).startswith("0da8dcd6a3fe")
    assert recipes.recipe_of(images).startswith("d566ffe00ac4")
    assert recipes.recipe_of(pvh_elf).startswith("005c8365404e")
    assert recipes.recipe_of(stock).startswith("f2091fff3896")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_flavour_is_of_one_base_and_the_other_is_a_release(flavour: str) -> None:
    its = {name: recipe.flavour for name, recipe in recipes.recipes(Trees(), flavour=flavour).items()}
    of = "linux" if flavour.startswith("linux-") else "xen"
    assert its == {"xen": "release", "linux": "release"} | {of: flavour}


def test_an_own_tree_has_the_name_of_its_version_and_the_fragments_of_what_fits(tmp_path: Path) -> None:
    mine = Trees(xen_tree=xen_tree(tmp_path / "xen", sub=99), linux_tree=linux_tree(tmp_path / "linux"))
    assert recipes.pair_name(mine) == "xen-4.99+linux-6.12"
    wanted = recipes.recipes(mine)
    assert wanted["xen"].base.folder == bases.every("xen")[-1].folder
    assert wanted["xen"].patches == () and not wanted["xen"].tried
    with_series = recipes.recipes(replace(mine, with_series=True))
    assert with_series["xen"].patches == bases.default("xen").patches()
    assert with_series["xen"].patches, "not those of a newer base that has none"
    bare = next(base.folder.name for base in bases.every("xen") if not base.patches())
    with pytest.raises(UserError, match=f"the base xen {bare} has no series"):
        recipes.recipes(replace(mine, with_series=True, xen=bare))
    older = Trees(xen_tree=xen_tree(tmp_path / "old", sub=1))
    assert recipes.base_of(older, "xen").folder == bases.every("xen")[0].folder
    default = recipes.recipes()
    assert default["xen"].tried and default["linux"].tried
    assert not recipes.recipes(Trees(stock=True))["xen"].tried


def test_fragments_of_the_user_come_last_and_are_part_of_the_key(tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_PV32=n\n")
    source = Source(name="xen", version="4.20.3", origin="x", sha256="1" * 64)
    keys = set()
    for trees in (Trees(), Trees(xen_config=(mine,))):
        recipe = recipes.recipes(trees)["xen"]
        keys.add(recipes.kernel_inputs(recipe, source, how="x")["config"])
    assert recipe.requested(source)["CONFIG_PV32"].value == "n"
    assert len(keys) == 2


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_stores_made_before_fragments_had_words_still_serve(flavour: str) -> None:
    """Equal requests are an equal input; the first were hashed as text. Drop the line when one changes."""
    for name, recipe in recipes.recipes(flavour=flavour).items():
        source = Source(name=name, version=f"{recipe.base.file.series}.1", origin="x", sha256="1" * 64)
        assert recipes.config_input(recipe.requested(source)) in recipes.SAME_CONFIG.values()
