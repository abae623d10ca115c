# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cells to run: from the command line to pytest's arguments.

A cell is one thing that is run and judged. Its id names what it was run on
and with, in one word that can be pasted after ``evh run --cell``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.model import KINDS, Abi

LINUX_GUESTS = tuple(KINDS)
BARE_GUESTS = ("bare-pv64", "bare-pv32", "bare-pvh64", "bare-pvh32")
# Kernels that run the series' unit tests: no guests of anybody.
KUNIT_KERNELS = ("kunit64", "kunit32")
GUESTS = ("dom0", *LINUX_GUESTS, *BARE_GUESTS, *KUNIT_KERNELS)
CORE = "core"
XTF = "xtf"
# How Xen is built, or (the last two) Linux: each but the first is a folder of Kconfig fragments in a base.
FLAVOURS = ("release", "debug", "ubsan", "coverage", "linux-debug", "linux-kasan")
# Where a flavour of Linux is to be found; the rest of a run in it would be the release's once more.
FLAVOUR_GUESTS = {
    "linux-debug": ("dom0", "pv64", "pvh64", "hvm64", *KUNIT_KERNELS),
    # PV and PVH kernels run checked code before KASAN's shadow is mapped; in 32 bits there is none.
    "linux-kasan": ("hvm64", "kunit64"),
}
MOST_SEEDS = 100_000


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


TESTS = Path(__file__).resolve().parent.parent / "tests" / "suites"
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
    if not suite.file or (TESTS / suite.file).exists() or not TESTS.is_dir()
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing that is run and judged (DESIGN: base x flavour x guest x abi x test x seed)."""

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
        """Read an id back.

        Raises:
            UserError: it is not one.
        """
        hint = f"An id looks like {EXAMPLE_CELL.id}; run.json has one for each test."
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


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was asked for.

    Attributes:
        suites: names out of ``SUITES``; empty with files means files only.
        files: a user's own test files (``path`` or ``path::test``).
        guests, abis: keep only cells of these; empty keeps all.
        keyword: pytest's ``-k`` expression.
        cell: this one alone.
        seeds: for the tests that draw from one: each with each.
        flavour: of Xen, or of Linux.
        xtf: a checkout of XTF, for the suite of that name.
        minutes: how long each storm of the stress suite lasts; 0: some seconds.
    """

    suites: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()
    abis: tuple[Abi, ...] = ()
    keyword: str = ""
    cell: Cell | None = None
    seeds: tuple[int, ...] = ()
    flavour: str = FLAVOURS[0]
    xtf: Path | None = None
    minutes: float = 0

    @property
    def default_abi(self) -> Abi:
        """For a machine whose test does not say: the one that was asked for, else 3l."""
        return self.abis[0] if len(self.abis) == 1 else Abi.L3

    def describe(self) -> dict[str, str]:
        """For run.json and the report's head."""
        words = {
            "suite": ",".join(self.suites),
            "files": ",".join(self.files),
            "guest": ",".join(self.guests),
            "abi": ",".join(self.abis),
            "keyword": self.keyword,
            "cell": self.cell.id if self.cell else "",
            "seeds": show_seeds(self.seeds),
            "flavour": self.flavour,
            "minutes": f"{self.minutes:g}" if self.minutes else "",
        }
        return {key: value for key, value in words.items() if value}

    def keeps(self, cell: Cell) -> bool:
        """Whether a cell is among those asked for (``keyword`` is left to pytest)."""
        if self.cell is not None:
            return cell == self.cell
        if cell.guest not in FLAVOUR_GUESTS.get(self.flavour, GUESTS):
            return False
        suite = SUITES.get(cell.suite)
        if suite and not self.guests and cell.guest in suite.named_only:
            return False
        return (not self.guests or cell.guest in self.guests) and (not self.abis or cell.abi in self.abis)


def select(
    *,
    suites: Sequence[str] = (),
    files: Sequence[str] = (),
    guests: Sequence[str] = (),
    abis: Sequence[str] = (),
    keyword: str = "",
    cell: str = "",
    seeds: str = "",
    flavour: str = "",
    xtf: Path | None = None,
    minutes: float = 0,
) -> Selection:
    """Check words from the command line and make a Selection of them.

    With nothing named it is the core plan.

    Raises:
        UserError: an unknown suite, guest or ABI, or a file that is not there.
    """
    _known("suite", suites, tuple(SUITES))
    _known("guest", guests, GUESTS)
    _known("abi", abis, tuple(Abi))
    for file in files:
        path = Path(file.partition("::")[0])
        if not path.exists():
            near = f" Did you mean `--suite {file}`?" if file in SUITES else ""
            raise UserError(
                f"there is no test file {path}",
                hint=f"Name a Python file with test functions (docs/writing-tests.md).{near}",
            )
    wanted = Cell.parse(cell) if cell else None
    if wanted is not None and (seeds or flavour):
        raise UserError(
            "--cell already names its seed and its flavour", hint="Leave --seed and --flavour away."
        )
    flavour = wanted.flavour if wanted else flavour or FLAVOURS[0]
    _known("flavour", (flavour,), FLAVOURS)
    if wanted is not None:
        if suites:
            raise UserError("--cell already names its suite", hint="Leave --suite away.")
        if not files:
            if wanted.suite not in SUITES:
                raise UserError(
                    f"cell {wanted.id} is of a test file of your own",
                    hint=f"Name the file too: evh run --cell ID path/to/{wanted.suite}.py",
                )
            suites = (wanted.suite,)
    if xtf is not None and XTF not in suites:
        suites = (*suites, XTF)
    if XTF in suites and xtf is None:
        raise UserError("the suite xtf is of another project", hint="Name a checkout of it: --xtf PATH.")
    return Selection(
        suites=tuple(dict.fromkeys(suites)) or (() if files else (CORE,)),
        files=tuple(files),
        guests=tuple(guests),
        abis=tuple(Abi(a) for a in abis),
        keyword=keyword,
        cell=wanted,
        seeds=(wanted.seed,) if wanted else parse_seeds(seeds),
        flavour=flavour,
        xtf=xtf,
        minutes=minutes,
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """``7``, ``1-100`` or ``3,5-9``; empty for an empty text.

    Raises:
        UserError: it is none of these, or too many.
    """
    seeds: list[int] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"{text!r} is no list of seeds", hint="Write 7, 1-100 or 3,5-9.")
        if (int(last) if dash else int(first)) - int(first) >= MOST_SEEDS:
            raise UserError(f"{text}: more than {MOST_SEEDS:,} seeds", hint="Take them in several runs.")
        seeds += range(int(first), (int(last) if dash else int(first)) + 1)
    return tuple(dict.fromkeys(seeds))


def show_seeds(seeds: Sequence[int]) -> str:
    """What ``parse_seeds`` reads: neighbours as a range."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _known(option: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise UserError(f"unknown {option} {word!r}", hint=f"Known: {', '.join(known)}.")


def suites_dir() -> Path:
    """Where this project's own suites are: beside the package, in the source tree.

    Raises:
        UserError: the package was installed without them.
    """
    if not TESTS.is_dir():
        raise UserError(
            "the suites are not beside the installed package",
            hint="Install from a clone with `pip install -e .`, or name your own test file.",
        )
    return TESTS


def pytest_targets(selection: Selection) -> list[str]:
    """Files and folders for pytest's command line.

    Raises:
        UserError: a suite's file is missing.
    """
    targets: list[str] = []
    for name in selection.suites:
        suite = SUITES[name]
        path = suites_dir() / suite.file
        if not path.exists():
            raise UserError(
                f"suite {name} has no file {path}",
                hint="The clone is incomplete: `git status` shows what is missing.",
            )
        targets.append(str(path))
    targets += [
        str(Path(f.partition("::")[0]).resolve()) + f[len(f.partition("::")[0]) :] for f in selection.files
    ]
    return targets


def in_selected_suite(selection: Selection, *, path: Path, markers: set[str]) -> bool:
    """Whether a collected test belongs to a chosen suite or a named file.

    A folder is handed to pytest for suites that are a marker, so what they do
    not mean has to be dropped again.
    """
    own = {Path(f.partition("::")[0]).resolve() for f in selection.files}
    path = path.resolve()
    if path in own or any(parent in own for parent in path.parents):
        return True
    for name in selection.suites:
        suite = SUITES[name]
        if suite.file and path.name == Path(suite.file).name:
            return True
        if suite.marker and suite.marker in markers:
            return True
    return False
