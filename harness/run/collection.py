# SPDX-License-Identifier: GPL-2.0-or-later
"""Derives from a collected test its cell, its machine, and the components that must be built for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pytest

from harness.core.records import ABILITIES, LINUX, LINUX_3L, PV32, SHADOW, XEN_3L, Abi, MachineSpec
from harness.plan.cells import Cell
from harness.plan.flavours import RELEASE
from harness.plan.guests import BARE_GUESTS, KINDS, KUNIT_KERNELS

# A keyword of the marker ``machine`` beside the fields of MachineSpec: the test shares its machine with no
# test before it.
CLEAN = "clean"


def spec_of(item: pytest.Item, *, default_abi: Abi = Abi.L3) -> MachineSpec:
    """The machine that a test's ``machine`` marker asks for.

    Args:
        default_abi: dom0's ABI if neither the marker nor, for a test of
            dom0, a parameter ``abi`` gives it.

    Raises:
        pytest.UsageError: the marker has a keyword that is not a field of MachineSpec.
    """
    asked: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("machine"))):  # the closest wins
        if marker.args:
            raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.machine takes keywords only, e.g. abi='3l'")
        asked.update(marker.kwargs)
    asked.pop(CLEAN, None)
    known = {f.name for f in fields(MachineSpec)}
    if unknown := sorted(asked.keys() - known):
        raise pytest.UsageError(
            f"{item.nodeid}: unknown keywords for @pytest.mark.machine: {', '.join(unknown)}; "
            f"known: {', '.join(sorted({*known, CLEAN}))}"
        )
    if "abi" not in asked and guest_of(item) == "dom0" and (abi := _param(item, "abi")):
        asked["abi"] = abi
    asked["abi"] = abi_word(item, asked.get("abi", default_abi))
    if (kind := KINDS.get(guest_of(item))) and kind.dom0:
        asked.setdefault("dom0_image", kind.dom0)
    return MachineSpec(**asked)


def wants_clean(item: pytest.Item) -> bool:
    """Whether a test wants a machine that no other test has used."""
    marker = next((one for one in item.iter_markers("machine") if CLEAN in one.kwargs), None)
    return marker is not None and bool(marker.kwargs[CLEAN])


def abi_word(item: pytest.Item, word: str) -> Abi:
    """Convert the name of an ABI, as a test gives it.

    Raises:
        pytest.UsageError: no ABI has this name.
    """
    try:
        return Abi(word)
    except ValueError as e:
        raise pytest.UsageError(f"{item.nodeid}: {e}; known: {', '.join(Abi)}") from e


def _param(item: pytest.Item, *names: str) -> str:
    callspec = getattr(item, "callspec", None)
    for name in names:
        if callspec is not None and isinstance(value := callspec.params.get(name), str):
            return str(value)
    return ""


def guest_of(item: pytest.Item) -> str:
    """The kind of guest that a test exercises: from its ``cell`` marker or parameters, else ``dom0``."""
    marker = item.get_closest_marker("cell")
    marked = str(marker.kwargs.get("guest", "")) if marker else ""
    return marked or _param(item, "guest", "kind", "guest_kind") or "dom0"


# The seed in a test's id, before, between or after other parameters; a cell has a separate field for it.
SEED = re.compile(r"seed=\d+-|-?seed=\d+(?=\])")


def cell_of(
    item: pytest.Item, *, base: str, default_abi: Abi = Abi.L3, flavour: str = RELEASE
) -> Cell:
    """The cell of a test. Guest and ABI come from the ``cell`` marker, else from parameters
    called ``guest`` (or ``kind``) and ``abi``; the default is dom0 with its machine's ABI."""
    marker = item.get_closest_marker("cell")
    abi = str(marker.kwargs.get("abi", "")) if marker else ""
    abi = abi or _param(item, "abi") or spec_of(item, default_abi=default_abi).abi
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    test = "::".join([*classes, item.name])
    return Cell(
        base=base,
        guest=guest_of(item),
        abi=str(Abi(abi)),
        suite=item.path.stem.removeprefix("test_"),
        test=SEED.sub("", test).replace("[]", ""),
        flavour=flavour,
        seed=callspec.params["seed"] if (callspec := seeded(item)) else 1,
    )


def seeded(item: pytest.Item) -> Any:
    """The callspec of a test that has a seed parameter; None for other tests."""
    callspec = getattr(item, "callspec", None)
    return callspec if callspec is not None and isinstance(callspec.params.get("seed"), int) else None


def components_of(items: Iterable[pytest.Item]) -> frozenset[str]:
    """The components that these tests need: those that their ``needs`` markers name, and for a test
    that uses a machine Linux, and those that its guest and its ``machine`` markers name."""
    components: set[str] = set()
    for item in items:
        for marker in item.iter_markers("needs"):
            components.update(marker.args)
        if "machine" not in getattr(item, "fixturenames", ()):
            continue
        kind = KINDS.get(guest_of(item))
        components |= kind.components if kind else {LINUX}
        for marker in item.iter_markers("machine"):
            components.update(filter(None, map(marker.kwargs.get, ("dom0_kernel", "dom0_image", "xen"))))
    return frozenset(components)


def lacked(lacks: Mapping[str, str], *abis: str) -> str:
    """Why Xen or Linux does not have one of these ABIs; empty if both have all."""
    needed = (XEN_3L, LINUX_3L) if Abi.L3 in abis else ()
    return next((lacks[ability] for ability in needed if ability in lacks), "")


def unable(item: pytest.Item, cell: Cell, lacks: Mapping[str, str], *, emulated: bool = True) -> str:
    """Why a build cannot run a test; empty if it can.

    Args:
        lacks: for each ability that the build does not have, why.
        emulated: 32-bit guests have shadow paging then (guest/xlconfig.py).

    Raises:
        pytest.UsageError: an ``asks`` marker names no ability.
    """
    asked = [ability for marker in item.iter_markers("asks") for ability in marker.args]
    if unknown := sorted(set(asked) - set(ABILITIES)):
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.asks names unknown abilities: {', '.join(unknown)}; "
            f"known: {', '.join(ABILITIES)}"
        )
    # A bare guest boots without Linux; a KUnit kernel is one of its own, without Xen (run/kunit.py).
    if cell.abi == Abi.L3 and cell.guest not in KUNIT_KERNELS:
        asked += [XEN_3L] if cell.guest in BARE_GUESTS else [XEN_3L, LINUX_3L]
    asked += [PV32] if cell.guest == "bare-pv32" else []
    asked += [SHADOW] if emulated and (kind := KINDS.get(cell.guest)) and not kind.wide else []
    return next((lacks[ability] for ability in asked if ability in lacks), "")
