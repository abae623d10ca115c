# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests a suite of the bare guests has: the ``TEST(name)`` functions of its C files."""

from __future__ import annotations

from harness import bases, ktap, plan

PV_GUESTS = tuple(kind for kind in plan.BARE_GUESTS if kind.startswith("bare-pv") and "pvh" not in kind)


def cases(suite: str, kinds: tuple[str, ...] = plan.BARE_GUESTS) -> list[tuple[str, str]]:
    """Kind and name of each test, as parameters for pytest.

    Args:
        suite: tests of all ``kinds`` are in ``SUITE.c``, those that PV guests have beside them in
            ``SUITE-pv.c`` if there is one.
    """
    folder = bases.project_root() / "images" / "bare"
    everyone = ktap.cases_in((folder / f"{suite}.c").read_text())
    more = folder / f"{suite}-pv.c"
    pv = ktap.cases_in(more.read_text()) if more.exists() else ()
    return [(kind, case) for kind in kinds for case in (*(pv if kind in PV_GUESTS else ()), *everyone)]
