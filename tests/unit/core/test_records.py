# SPDX-License-Identifier: GPL-2.0-or-later
"""Records that travel: what of a build is asked for by the name of its component."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import fake_built

from harness.core.errors import UserError
from harness.core.records import Abi, Built, GuestImage, dom0_root, image_of, xen_of

I386 = GuestImage(kernel=Path("i386"))
BUILT = replace(
    fake_built(),
    xen=Path("xen"), xens={"xen-without-3l": Path("other xen")},
    dom0_image=Path("dom0"), dom0_images={"hvm": Path("dom0 of hvm")}, images={"i386": I386},
)  # fmt: skip


def test_without_a_component_it_is_the_plain_one() -> None:
    assert (xen_of(BUILT, ""), dom0_root(BUILT, "")) == (Path("xen"), Path("dom0"))


def test_component_gives_its_own() -> None:
    assert xen_of(BUILT, "xen-without-3l") == Path("other xen")
    assert dom0_root(BUILT, "hvm") == Path("dom0 of hvm")
    assert image_of(BUILT, "i386") is I386


@pytest.mark.parametrize("ask", [xen_of, dom0_root, image_of])
def test_component_that_was_not_built_is_an_error_that_says_how_to_get_it(
    ask: Callable[[Built, str], object],
) -> None:
    with pytest.raises(UserError, match="'stock' was not built") as caught:
        ask(BUILT, "stock")
    assert "@pytest.mark.needs('stock')" in caught.value.hint


def test_each_abi_has_a_kernel_parameter_of_its_own() -> None:
    assert len({abi.kernel_args for abi in Abi}) == len(Abi)
