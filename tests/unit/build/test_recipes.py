# SPDX-License-Identifier: GPL-2.0-or-later
"""Store keys: which changes of the code make a new recipe."""

from __future__ import annotations

import pytest

from harness.build import images, linux, make, pvh_elf, recipes, stock, xen
from harness.plan.flavours import FLAVOURS

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
    its = {name: recipe.flavour for name, recipe in recipes.recipes(flavour=flavour).items()}
    of = "linux" if flavour.startswith("linux-") else "xen"
    assert its == {"xen": "release", "linux": "release"} | {of: flavour}
