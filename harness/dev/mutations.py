# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutations: deliberate bugs, each a patch, and which tests noticed them.

    tests/mutations/NAME.patch      one bug, and the command whose tests must notice it
    tests/mutations/results.json    what happened when each was tried, by `evh mutate`
    docs/mutations.md               tables for people, made from both

A patch begins with lines that say what it is (docs/mutations.md explains
them); `git apply` passes over them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.core.errors import UserError
from harness.store.hashes import digest

# In the checkout.
FOLDER = Path("tests/mutations")
PAGE = Path("docs/mutations.md")
RESULTS = "results.json"  # in FOLDER

# The tables of the page, in its order, by what is mutated and what looks for it.
SECTIONS = {
    ("xen", "evh"): "hypervisor",
    ("linux", "evh"): "guest",
    ("xen", "make"): "unit",
    ("harness", "pytest"): "harness",
}
# Tests that a row of the table names; the others are only counted.
NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One deliberate bug.

    Attributes:
        name: of its file, without ``.patch``.
        what: what is broken, as a clause.
        where: the tree that the patch is for: ``xen`` or ``linux`` (with the series), or ``harness``.
        run: the command whose tests must notice it: ``evh run ...``, ``make ...`` or ``pytest ...``.
        unseen: why no test notices it; empty: one must.
        note: a remark for the table.
        text: of the whole file.
    """

    name: str
    what: str
    where: str
    run: tuple[str, ...]
    unseen: str = ""
    note: str = ""
    text: str

    @property
    def section(self) -> str:
        """The table that it belongs to."""
        return SECTIONS[self.where, self.run[0]]

    @property
    def patch_digest(self) -> str:
        """Hash of what decides the result; the words for people do not."""
        return digest("\n".join([self.where, self.command, self.text.partition("\n\n")[2]]))

    @property
    def command(self) -> str:
        """The command as one line."""
        return shlex.join(self.run)


_HEADER = re.compile(r"(What|In|Run|Unseen|Note): (.+)")


def read(path: Path) -> Mutation:
    """Read one mutation.

    Raises:
        UserError: the file cannot be read, its head is not as described, or it holds no patch.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the mutation {path}: {error}", hint="Name another file.") from error
    head, _, patch = text.partition("\n\n")
    fields: dict[str, str] = {}
    for number, line in enumerate(head.splitlines(), 1):
        match = _HEADER.fullmatch(line)
        if match is None or match[1] in fields:
            raise UserError(
                f"{path}:{number}: {line!r} is not a line that a mutation begins with",
                hint="It begins with What:, In:, Run: and perhaps Unseen: or Note:, each once and in one "
                "line, then an empty line and the patch (docs/mutations.md).",
            )
        fields[match[1]] = match[2].strip()
    missing = [name for name in ("What", "In", "Run") if name not in fields]
    if missing or not re.search(r"^--- \S", patch, re.MULTILINE):
        what = f"the line {missing[0]}:" if missing else "a patch after an empty line"
        raise UserError(f"{path} lacks {what}", hint="docs/mutations.md says what a mutation consists of.")
    run = tuple(shlex.split(fields["Run"]))
    if (fields["In"], run[0]) not in SECTIONS:
        known = ", ".join(f"{where} with {program}" for where, program in SECTIONS)
        raise UserError(f"{path}: In: {fields['In']} with Run: {run[0]}", hint=f"There are: {known}.")
    return Mutation(
        name=path.stem, what=fields["What"], where=fields["In"], run=run,
        unseen=fields.get("Unseen", ""), note=fields.get("Note", ""), text=text,
    )  # fmt: skip


def read_all(folder: Path) -> list[Mutation]:
    """All mutations in the order of the page: by table, then by name.

    Raises:
        UserError: one of them is not as described.
    """
    order = list(SECTIONS.values())
    found = [read(path) for path in folder.glob("*.patch")]
    return sorted(found, key=lambda one: (order.index(one.section), one.name))


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A test that noticed a mutation.

    Attributes:
        test: its name; of Xen's unit test, the message; empty: none had ended when the machine was lost.
        guest: the guest it ran in; empty: it does not run in one.
        verdict: ``fail``, ``crash`` or ``hang``.
        layer: what crashed or hung.
        after: the machine was lost after this test had ended.
    """

    test: str
    guest: str = ""
    verdict: str = "fail"
    layer: str = ""
    after: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What happened when a mutation was tried.

    Attributes:
        patch: the mutation's ``patch_digest``.
        key: hash of everything that decides the result; see ``mutate.key_of``.
        findings: the tests that noticed it; none: it was not seen.
    """

    patch: str
    key: str
    findings: list[Finding]


class Green(msgspec.Struct, frozen=True, kw_only=True):
    """A command whose tests all passed on the tree without a mutation."""

    key: str
    passed: int


class Results(msgspec.Struct, kw_only=True):
    """The file of results. ``green`` is by the command, ``mutations`` by name."""

    mutations: dict[str, Result] = {}
    green: dict[str, Green] = {}


def load_results(folder: Path) -> Results:
    """The results so far; none if there is no file.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / RESULTS
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except FileNotFoundError:
        return Results()
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UserError(
            f"{path} is damaged: {error}",
            hint="Restore it with git, or remove it to try all mutations again.",
        ) from error


def save_results(results: Results, folder: Path) -> None:
    """Write the results, sorted and in lines, so that a diff shows what has changed."""
    text = msgspec.json.format(msgspec.json.encode(results, order="sorted"), indent=1)
    (folder / RESULTS).write_bytes(text + b"\n")


def names_of(findings: Sequence[Finding]) -> str:
    """The tests of findings, for a table: those that failed, then what crashed or hung, and in which."""
    failed = list(dict.fromkeys(one.test for one in findings if one.verdict == "fail"))
    parts = [f"`{test}`" for test in failed[:NAMED]]
    if len(failed) > NAMED:
        parts.append(f"{len(failed) - NAMED} more")
    lost: dict[tuple[str, str], Finding] = {}
    for one in findings:
        if one.verdict != "fail":
            lost.setdefault((one.verdict, one.layer), one)  # what came later had no machine to run on
    for (verdict, layer), one in lost.items():
        where = f"{'after' if one.after else 'in'} `{one.test}`" if one.test else "before the first test"
        parts.append(f"{verdict} of {layer or 'the machine'} {where}")
    return ", ".join(parts)


def row(mutation: Mutation, result: Result) -> str:
    """One line of a table."""
    seen = names_of(result.findings) or f"**not seen**: {mutation.unseen or 'no reason known'}"
    what = f"[{mutation.what}](../tests/mutations/{mutation.name}.patch)"
    seen += f". {mutation.note}" if mutation.note else ""
    return f"| {what} | `{mutation.command}` | {seen} |"


def table(mutations: Iterable[Mutation], results: Mapping[str, Result]) -> str:
    """The table of some mutations; those without a result say so."""
    lines = ["| mutation | looked for by | seen by |", "|---|---|---|"]
    for one in mutations:
        result = results.get(one.name)
        lines.append(row(one, result) if result else f"| {one.what} | `{one.command}` | not tried yet |")
    return "\n".join(lines) + "\n"


def filled_in(page: str, mutations: Sequence[Mutation], results: Mapping[str, Result]) -> str:
    """The page with its tables made anew; everything outside of the markers stays as it is.

    Raises:
        UserError: the page lacks the markers of a table.
    """
    for section in SECTIONS.values():
        begin, end = f"<!-- evh mutate: {section} -->\n", "<!-- end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise UserError(
                f"docs/mutations.md has no place for the table {section!r}",
                hint=f"Put the lines {begin.strip()} and {end} where it belongs.",
            )
        its = [one for one in mutations if one.section == section]
        page = before + begin + table(its, results) + end + after
    return page
