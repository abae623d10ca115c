# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cells to run: from the command line to pytest's arguments.

A cell is one thing that is run and judged. Its id names what it was run on
and with, in one word that can be pasted after ``evh run --cell``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError
from harness.core.records import Abi
from harness.plan.cells import Cell
from harness.plan.flavours import FLAVOURS, RELEASE
from harness.plan.guests import GUESTS
from harness.plan.seeds import parse_seeds, show_seeds
from harness.plan.suites import CORE, SUITES, XTF, suites_dir


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
    flavour: str = RELEASE
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
        if cell.guest not in FLAVOURS[self.flavour].guests:
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
    flavour = wanted.flavour if wanted else flavour or RELEASE
    _known("flavour", (flavour,), tuple(FLAVOURS))
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


def _known(option: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise UserError(f"unknown {option} {word!r}", hint=f"Known: {', '.join(known)}.")


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

