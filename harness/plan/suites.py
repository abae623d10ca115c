# SPDX-License-Identifier: GPL-2.0-or-later
"""The suites, one row each: named sets of tests in ``tests/suites``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core import paths
from harness.core.errors import UserError

CORE = "core"
XTF = "xtf"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named set of tests.

    Attributes:
        text: the description in ``evh run --help``.
        file: the pytest file in ``tests/suites``; empty: all of them.
        marker: select only tests with this marker; empty: all tests of the file.
        seeded: the tests are randomized by ``--seeds``.
        named_only: guests that run only if named with ``--guest``, since they would take too long.
        timed: the tests measure time, so that nothing may run beside them.
        minutes: expected duration on two cores without KVM, without the build.
    """

    name: str
    text: str
    file: str = ""
    marker: str = ""
    seeded: bool = False
    timed: bool = False
    named_only: tuple[str, ...] = ()
    minutes: int


# Suites whose file does not exist are left out.
SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            name=CORE,
            text="the default of `make run`: 524,287 channels, and one guest beyond FIFO's limit",
            marker="core",
            minutes=4,
        ),
        Suite(
            name="smoke",
            text="whether each guest boots and delivers events with each ABI, on a few channels",
            file="test_smoke.py",
            minutes=2,
        ),
        Suite(
            name="conformance",
            text="the hypervisor's side of the ABI, tested by a bare guest without Linux",
            file="test_conformance.py",
            minutes=1,
        ),
        Suite(
            name="abuse",
            text="randomized hostile hypercall arguments, frames and page contents",
            file="test_abuse.py",
            seeded=True,
            minutes=2,
        ),
        Suite(
            name="race",
            text="randomized races between registration, reset, send, close and domain destruction",
            file="test_race.py",
            seeded=True,
            minutes=2,
        ),
        Suite(
            name="domains",
            text="bare guests of different ABIs and widths, created and destroyed side by side",
            file="test_domains.py",
            minutes=2,
        ),
        Suite(
            name="dump",
            text="Xen's debug key 'e' with every port open, while events are delivered",
            file="test_dump.py",
            minutes=2,
        ),
        Suite(
            name="bench",
            text="the cost of each operation in instructions, for each ABI",
            file="test_bench.py",
            minutes=5,
        ),
        Suite(
            name="kunit",
            text="the Linux series' KUnit tests, 64 and 32 bits, without Xen",
            file="test_kunit.py",
            minutes=1,
        ),
        Suite(
            name=XTF,
            text="the Xen Test Framework's tests, against the same Xen without the series (needs --xtf PATH)",
            file="test_xtf.py",
            minutes=6,
        ),
        Suite(
            name="lifecycle",
            text="vCPU hotplug, save, restore, migration, suspend, reboot, kexec and kill, all under load",
            file="test_lifecycle.py",
            minutes=25,
        ),
        Suite(
            name="devices",
            text="files of /dev/xen/evtchn and /dev/xen/gntdev after a restore, and when something fails",
            file="test_devices.py",
            minutes=6,
        ),
        Suite(
            name="stress",
            text="event storms, rapid opening and closing, hostile peers; latency of each ABI",
            file="test_stress.py",
            seeded=True,
            timed=True,
            minutes=25,
        ),
        Suite(
            name="mixed",
            text="2l, fifo and 3l guests side by side, 32 and 64 bits; Debian's kernel as guest and as dom0",
            file="test_mixed.py",
            minutes=6,
        ),
        Suite(
            name="many",
            text="dom0 with the backends of 64 guests, each with disk and network; needs 8 GiB of memory",
            file="test_many.py",
            minutes=20,
        ),
        Suite(
            name="full",
            text="all 524,287 channels of a 64-bit guest through real IRQs; needs 6 GiB of memory",
            file="test_full.py",
            minutes=20,
        ),
        Suite(
            name="limits",
            text="every limit of every ABI, through hypercalls and through real IRQs; "
            "hvm64 and hvm32, which start slowly, only with --guest",
            file="test_limits.py",
            named_only=("hvm64", "hvm32"),
            minutes=30,
        ),
    )
    if not suite.file or (paths.SUITES / suite.file).exists() or not paths.SUITES.is_dir()
}


def suites_dir() -> Path:
    """The folder of this project's suites, in the source tree beside the package.

    Raises:
        UserError: the package was installed without its source tree.
    """
    if not paths.SUITES.is_dir():
        raise UserError(
            "the suites are missing: the package was installed without its source tree",
            hint="Install from a clone with `pip install -e .`, or name your own test file.",
        )
    return paths.SUITES

