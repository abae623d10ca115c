# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests a suite of the bare guests has: the ``TEST(name)`` functions of its C files."""

from __future__ import annotations

from harness import bases, ktap, plan

PV_GUESTS = tuple(kind for kind in plan.BARE_GUESTS if kind.startswith("bare-pv") and "pvh" not in kind)


def cases(suite: str, kinds: tuple[str, ...] = plan.BARE_GUESTS) -> list[tuple[str, str]]:
    """Kind and name of each test, as parameters for pytest.

    Args:
        suite: tests of all ``kinds`` are in ``SUITE.c`` and ``SUITE-*.c``, but those that only PV guests
            have in ``SUITE-pv.c``.
    """
    folder = bases.project_root() / "images" / "bare"
    files = [folder / f"{suite}.c", *sorted(folder.glob(f"{suite}-*.c"))]
    found = {file.stem: ktap.cases_in(file.read_text()) for file in files}
    pv = found.pop(f"{suite}-pv", ())
    everyone = [case for of_file in found.values() for case in of_file]
    return [(kind, case) for kind in kinds for case in (*(pv if kind in PV_GUESTS else ()), *everyone)]
