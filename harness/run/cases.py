# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests the bare guests and the Linux series have, as parameters for pytest."""

from __future__ import annotations

import re

from harness.monitor import ktap
from harness.plan.guests import BARE_GUESTS, BARE_PV_GUESTS, KUNIT_KERNELS
from harness.source import bases

_KUNIT_CASE = re.compile(r"^\+\s*KUNIT_CASE(?:_SLOW)?\((\w+)\)", re.MULTILINE)


def bare_cases(suite: str, kinds: tuple[str, ...] = BARE_GUESTS) -> list[tuple[str, str]]:
    """Kind and name of each test of a bare suite: the ``TEST(name)`` functions of its C files.

    Args:
        suite: tests of all ``kinds`` are in ``SUITE.c`` and ``SUITE-*.c`` of ``images/bare/tests``, except that those in
            ``SUITE-pv.c`` are of PV guests only.
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
    patches = bases.load(bases.default("linux")).patches()
    names = [name for patch in patches for name in _KUNIT_CASE.findall(patch.read_text())]
    return [(kind, name) for kind in KUNIT_KERNELS for name in names]
