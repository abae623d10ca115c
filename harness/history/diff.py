# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh diff`: what changed from one run to another, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.core.text import printable
from harness.history.same import Relation, keys_of, relation, same_artifacts, subject_of
from harness.run.planning import PLAN_JSON, load_plan
from harness.run.record import RunRecord, TestResult, load

# In the order in which they are shown: title, what it means.
KINDS = {
    "broken": "deterministic, and different on equal artifacts: an error of the harness",
    "new red": "red now, and not before",
    "missing": "had a verdict before, and has none now",
    "skipped": "passed before, and is skipped now",
    "flaky": "red and green on equal artifacts",
    "still red": "red in both",
    "known": "red, but quarantined; or a known crash report was passed over",
    "fixed": "green now, and red before",
    "new": "was not there before, and is green",
}
# What makes the exit code other than 0.
ALARMS = ("broken", "new red", "missing", "skipped")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One cell that is worth a line. Verdicts are empty where the run has none."""

    kind: str
    cell: str
    before: str
    after: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """All differences, and what else differs between the runs."""

    differences: list[Difference]
    inputs: list[str]
    same: bool  # both are known to have tested the same artifacts

    def of(self, kind: str) -> list[Difference]:
        return [one for one in self.differences if one.kind == kind]


def diff(before: Path, after: Path) -> Diff:
    """Compare two runs.

    Raises:
        UserError: one of them is no run.
    """
    (folder, record), (other_folder, other) = load(before), load(after)
    same = same_artifacts(subject_of(record), subject_of(other))
    was, now = _results(record), _results(other)
    planned = dict.fromkeys([*_planned(folder, record), *was, *_planned(other_folder, other), *now])
    found = []
    for cell in planned:
        one, two = was.get(cell), now.get(cell)
        kind, why = "", ""
        if same and one is not None and two is not None:
            kind, why = _related(folder, record, one, other_folder, other, two)
        kind = kind or _kind(one, two)
        if kind:
            found.append(
                Difference(
                    kind=kind, cell=cell, before=str(one.verdict or "") if one else "",
                    after=str(two.verdict or "") if two else "",
                    why=why or (two.reason if two and red(two) else one.reason if one and red(one) else ""),
                )
            )  # fmt: skip
    found.sort(key=lambda one: list(KINDS).index(one.kind))
    return Diff(differences=found, inputs=_inputs(record, other), same=same)


def red(test: TestResult) -> bool:
    """Whether a result is neither a pass nor a skip; one without a verdict is red."""
    return test.verdict not in (Verdict.PASS, Verdict.SKIP)


def _results(record: RunRecord) -> dict[str, TestResult]:
    return {test.cell: test for test in record.tests if test.verdict is not None}


def _planned(folder: Path, record: RunRecord) -> list[str]:
    try:
        return [one.cell for one in load_plan(folder / PLAN_JSON).mine]
    except UserError:
        return [test.cell for test in record.tests]


def _related(
    folder: Path, record: RunRecord, one: TestResult, other_folder: Path, other: RunRecord, two: TestResult
) -> tuple[str, str]:
    kind, why = relation((folder, record, one), (other_folder, other, two))
    if kind is Relation.BROKEN:
        return "broken", why
    return ("flaky", why) if kind is Relation.FLAKY else ("", "")


def _kind(one: TestResult | None, two: TestResult | None) -> str:
    """The kind of difference between two results; empty if there is none worth a line."""
    if two is None:
        return "missing"
    if two.flaky:
        return "flaky"
    if two.quarantine or (two.known_issues and not red(two)):
        return "known"
    if red(two):
        return "still red" if one is not None and red(one) else "new red"
    if one is None:
        return "new"
    if red(one):
        return "fixed" if two.verdict is Verdict.PASS else "skipped"
    return "skipped" if (one.verdict, two.verdict) == (Verdict.PASS, Verdict.SKIP) else ""


def _inputs(record: RunRecord, other: RunRecord) -> list[str]:
    """What else differs, one line each: sources, artifacts, the harness, QEMU, the accelerator."""
    out = []
    versions = [{source.name: source.version for source in one.sources} for one in (record, other)]
    for name in dict.fromkeys([*versions[0], *versions[1]]):
        if (was := versions[0].get(name, "none")) != (now := versions[1].get(name, "none")):
            out.append(f"{name}: {was} -> {now}")
    keys, others = keys_of(record), keys_of(other)
    if changed := [name for name in keys if name in others and keys[name] != others[name]]:
        out.append(f"artifacts that differ: {', '.join(changed)}")
    kinds = [one.accelerator.kind if one.accelerator else "none" for one in (record, other)]
    for name, was, now in (
        ("harness", record.harness.get("commit", "?"), other.harness.get("commit", "?")),
        ("QEMU", record.host.get("qemu", "?"), other.host.get("qemu", "?")),
        ("accelerator", *kinds),
    ):
        if was != now:
            out.append(f"{name}: {was} -> {now}")
    return out


def text_of(found: Diff, *, most: int = 200) -> str:
    """The differences for people.

    Args:
        most: lines of each kind.
    """
    out = [*found.inputs, ""] if found.inputs else []
    for kind, meaning in KINDS.items():
        each = found.of(kind)
        if not each:
            continue
        out.append(f"{kind} ({len(each)}): {meaning}")
        for one in each[:most]:
            verdicts = f"{one.before or '-'} -> {one.after or '-'}"
            out.append(f"  {verdicts}  {one.cell}" + (f": {one.why}" if one.why else ""))
        if len(each) > most:
            out.append(f"  ... and {len(each) - most} more")
        out.append("")
    summary = ", ".join(f"{len(each)} {kind}" for kind in KINDS if (each := found.of(kind)))
    out.append(summary or "no difference")
    return printable("\n".join(out))


def exit_code(found: Diff) -> int:
    """4 for an error of the harness, 1 for anything new that is not green, else 0."""
    if found.of("broken"):
        return 4
    return 1 if any(found.of(kind) for kind in ALARMS) else 0
