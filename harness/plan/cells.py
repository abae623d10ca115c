# SPDX-License-Identifier: GPL-2.0-or-later
"""A cell: one combination that is run and judged, and the id that names it.

The id is a single word that can be pasted after ``evh run --cell``.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A combination of base, flavour, guest, abi, test and seed, which is run and judged as one."""

    base: str
    flavour: str = "release"
    guest: str
    abi: str
    suite: str
    test: str
    seed: int = 1

    @property
    def id(self) -> str:
        """E.g. ``xen-4.20+linux-6.12/release/pv64/3l/limits::test_past_fifo/1``."""
        return "/".join(
            (
                self.base,
                self.flavour,
                self.guest,
                self.abi,
                f"{self.suite}::{self.test}",
                str(self.seed),
            )
        )

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Parse an id.

        Raises:
            UserError: ``text`` is not a cell id.
        """
        hint = f"An id looks like {EXAMPLE_CELL.id}; run.json lists the id of each test."
        head, _, seed = text.rpartition("/")
        parts = head.split("/", 4)
        if len(parts) != 5 or not seed.isdecimal() or "::" not in parts[4] or not all(parts):
            raise UserError(f"{text!r} is not a cell id", hint=hint)
        suite, _, test = parts[4].partition("::")
        return cls(
            base=parts[0],
            flavour=parts[1],
            guest=parts[2],
            abi=parts[3],
            suite=suite,
            test=test,
            seed=int(seed),
        )


EXAMPLE_CELL = Cell(base="xen-4.20+linux-6.12", guest="pv64", abi="3l", suite="limits", test="test_past_fifo")

