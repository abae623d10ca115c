# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cells to run: from the command line to pytest's arguments.

A cell is one thing that is run and judged. Its id names what it was run on
and with, in one word that can be pasted after ``evh run --cell``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core import paths
from harness.core.errors import UserError

CORE = "core"
XTF = "xtf"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named set of cells.

    Attributes:
        file: the pytest file under ``tests/suites``; empty: all of them.
        marker: only the tests that carry it; empty: all of the file.
        seeded: its tests draw from ``--seed``.
        named_only: guests whose cells are for ``--guest`` alone, as they would take it beyond its time.
        minutes: what to expect on two cores without KVM, after the build.
    """

    name: str
    text: str
    file: str = ""
    marker: str = ""
    seeded: bool = False
    named_only: tuple[str, ...] = ()
    minutes: int


# A suite whose file is not there is not offered.
SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name=CORE,
            text="what fits into `make run`: 524,287 channels, and one guest past FIFO's limit",
            marker="core",
            minutes=4,
        ),
        Suite(
            name="smoke",
            text="does it boot and deliver at all, each ABI and guest, few channels",
            file="test_smoke.py",
            minutes=2,
        ),
        Suite(
            name="conformance",
            text="the hypervisor's side of the ABI, by a bare guest with no Linux in the way",
            file="test_conformance.py",
            minutes=1,
        ),
        Suite(
            name="abuse",
            text="hostile arguments, frames and page contents, drawn from a seed",
            file="test_abuse.py",
            seeded=True,
            minutes=2,
        ),
        Suite(
            name="race",
            text="registration, reset, send, close and destruction against one another, drawn from a seed",
            file="test_race.py",
            seeded=True,
            minutes=2,
        ),
        Suite(
            name="domains",
            text="bare guests of different ABIs and widths beside each other, built and destroyed",
            file="test_domains.py",
            minutes=2,
        ),
        Suite(
            name="dump",
            text="Xen's debug key 'e' with every port open and events flying",
            file="test_dump.py",
            minutes=2,
        ),
        Suite(
            name="bench",
            text="what each operation costs in instructions, the ABIs side by side",
            file="test_bench.py",
            minutes=5,
        ),
        Suite(
            name="kunit",
            text="the Linux series' unit tests (KUnit), 64 and 32 bits, with no Xen under them",
            file="test_kunit.py",
            minutes=1,
        ),
        Suite(
            name=XTF,
            text="XTF's own tests on our Xen (needs --xtf PATH)",
            file="test_xtf.py",
            minutes=3,
        ),
        Suite(
            name="lifecycle",
            text="vCPUs that come and go, save, restore, migrate, suspend, reboot, kexec, kill: under load",
            file="test_lifecycle.py",
            minutes=25,
        ),
        Suite(
            name="stress",
            text="storms of events, opening and closing, hostile peers; latencies of the ABIs side by side",
            file="test_stress.py",
            seeded=True,
            minutes=25,
        ),
        Suite(
            name="mixed",
            text="2l, fifo and 3l guests side by side, 32 and 64 bits; Debian's kernel as guest and dom0",
            file="test_mixed.py",
            minutes=6,
        ),
        Suite(
            name="many",
            text="dom0 with the back ends of 64 guests, each with disk and network; wants 8 GiB of memory",
            file="test_many.py",
            minutes=20,
        ),
        Suite(
            name="full",
            text="all 524,287 channels of a 64-bit guest through real IRQs; wants 6 GiB of memory",
            file="test_full.py",
            minutes=20,
        ),
        Suite(
            name="limits",
            text="every limit of every ABI, through hypercalls and through real IRQs; "
            "of guests with a device model, which start slowly, by --guest",
            file="test_limits.py",
            named_only=("hvm64", "hvm32"),
            minutes=30,
        ),
    )
    if not suite.file or (paths.SUITES / suite.file).exists() or not paths.SUITES.is_dir()
}


def suites_dir() -> Path:
    """Where this project's own suites are: beside the package, in the source tree.

    Raises:
        UserError: the package was installed without them.
    """
    if not paths.SUITES.is_dir():
        raise UserError(
            "the suites are not beside the installed package",
            hint="Install from a clone with `pip install -e .`, or name your own test file.",
        )
    return paths.SUITES

