# SPDX-License-Identifier: GPL-2.0-or-later
"""The selection: which suites, files and cells to run, checked, and passed on to pytest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError
from harness.core.records import Abi
from harness.core.text import show_seeds
from harness.plan.cells import Cell
from harness.plan.flavours import FLAVOURS, RELEASE
from harness.plan.guests import GUESTS
from harness.plan.seeds import parse_seeds
from harness.plan.suites import CORE, SUITES, XTF, suites_dir


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The requested tests.

    Attributes:
        suites: names from ``SUITES``; empty if only ``files`` are to run.
        files: the user's own test files (``path`` or ``path::test``).
        guests, abis: keep only cells with these; empty keeps all.
        keyword: pytest's ``-k`` expression.
        cell: run only this cell.
        seeds: for randomized tests; each test runs once per seed.
        flavour: a key of ``FLAVOURS``.
        xtf: a checkout of XTF, for the suite of that name.
        minutes: duration of each storm in the stress suite; 0: a few seconds.
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
        """ABI of a machine whose test names none: the requested ABI if there is exactly one, else 3l."""
        return self.abis[0] if len(self.abis) == 1 else Abi.L3

    def describe(self) -> dict[str, str]:
        """The non-empty options as text, for run.json and the head of the report."""
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
        """Whether a cell is selected. ``keyword`` is not considered: pytest applies it."""
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
    """Check the command line's options and make a Selection from them.

    Without a suite, file or cell, the suite ``core`` is selected.

    Raises:
        UserError: an unknown suite, guest, ABI or flavour, options that contradict each other,
            or a file that does not exist.
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
            "--cell already names its seed and its flavour", hint="Leave out --seeds and --flavour."
        )
    flavour = wanted.flavour if wanted else flavour or RELEASE
    _known("flavour", (flavour,), tuple(FLAVOURS))
    if wanted is not None:
        if suites:
            raise UserError("--cell already names its suite", hint="Leave out --suite.")
        if not files:
            if wanted.suite not in SUITES:
                raise UserError(
                    f"cell {wanted.id} is not part of a suite of this project",
                    hint=f"Name the file too: evh run --cell ID path/to/{wanted.suite}.py",
                )
            suites = (wanted.suite,)
    if xtf is not None and XTF not in suites:
        suites = (*suites, XTF)
    if XTF in suites and xtf is None:
        raise UserError("the suite xtf needs a checkout of XTF", hint="Name one: --xtf PATH.")
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
        UserError: the file of a suite is missing.
    """
    targets: list[str] = []
    for name in selection.suites:
        suite = SUITES[name]
        path = suites_dir() / suite.file
        if not path.exists():
            raise UserError(
                f"the file of suite {name} is missing: {path}",
                hint="The clone is incomplete: `git status` shows what is missing.",
            )
        targets.append(str(path))
    targets += [
        str(Path(f.partition("::")[0]).resolve()) + f[len(f.partition("::")[0]) :] for f in selection.files
    ]
    return targets


def in_selected_suite(selection: Selection, *, path: Path, markers: set[str]) -> bool:
    """Whether a collected test belongs to a chosen suite or a named file.

    For a suite defined by a marker, pytest is given a whole folder, so the tests
    without the marker have to be dropped afterwards.
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

