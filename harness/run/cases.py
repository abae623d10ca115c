# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists the tests in the bare guests and in the Linux series, as parameters for pytest."""

from __future__ import annotations

import re

from harness.monitor import ktap
from harness.plan.guests import BARE_GUESTS, BARE_PV_GUESTS, KUNIT_KERNELS
from harness.source import bases

_KUNIT_CASE = re.compile(r"^\+\s*KUNIT_CASE(?:_[A-Z_]+)?\((\w+)", re.MULTILINE)


def bare_cases(suite: str, kinds: tuple[str, ...] = BARE_GUESTS) -> list[tuple[str, str]]:
    """Kind and name of each test in a bare suite: the ``TEST(name)`` functions of its C files.

    Args:
        suite: its tests are in ``SUITE.c`` and ``SUITE-*.c`` in ``images/bare/tests``;
            those in ``SUITE-pv.c`` run in PV guests only.
        kinds: bare guests to list tests for.
    """
    folder = bases.project_root() / "images" / "bare" / "tests"
    files = [folder / f"{suite}.c", *sorted(folder.glob(f"{suite}-*.c"))]
    found = {file.stem: ktap.cases_in(file.read_text()) for file in files}
    pv_only = found.pop(f"{suite}-pv", ())
    everyone = [case for of_file in found.values() for case in of_file]
    return [
        (kind, case) for kind in kinds for case in (*(pv_only if kind in BARE_PV_GUESTS else ()), *everyone)
    ]


def kunit_cases() -> list[tuple[str, str]]:
    """Kind and name of each KUnit test: the ``KUNIT_CASE`` lines of the Linux series."""
    patches = bases.default("linux").patches()
    names = [name for patch in patches for name in _KUNIT_CASE.findall(patch.read_text())]
    return [(kind, name) for kind in KUNIT_KERNELS for name in names]
