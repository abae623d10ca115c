# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a merged run, and what is wrong with them: missing, cut short, or of other artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError
from harness.history.same import keys_of
from harness.plan.cells import Cell
from harness.run.planning import PLAN_JSON, Plan, load_plan
from harness.run.record import RunRecord, load
from harness.run.request import BUILD_OPTIONS


@dataclass(frozen=True, kw_only=True)
class Part:
    """One run that is merged. ``plan`` is None for a run of a version without plans, or one that had none."""

    folder: Path
    record: RunRecord
    plan: Plan | None

    @property
    def name(self) -> str:
        """Its shard, if it is one, and its id."""
        shard = self.record.plan.get("shard")  # known even of a run that was killed before it had a plan
        return f"shard {shard} ({self.record.id})" if shard else f"run {self.record.id}"

    @property
    def planned(self) -> list[str]:
        """Cells that it was to run."""
        if self.plan is not None:
            return [one.cell for one in self.plan.mine]
        return [test.cell for test in self.record.tests]

    @property
    def judged(self) -> set[str]:
        """Cells that it has a verdict of."""
        return {test.cell for test in self.record.tests if test.verdict is not None}

    @property
    def kind(self) -> tuple[str, ...]:
        """What parts have in common that must have run the same artifacts: base, flavour, what was built."""
        bases = sorted({Cell.parse(cell).base for cell in self.planned[:1]})
        trees = [self.record.options.get(name, "") for name in BUILD_OPTIONS]
        return (*bases, self.record.flavour, *trees)


def read_parts(runs: Sequence[Path]) -> list[Part]:
    """Read the runs to merge, in order of their flavour, shard and start.

    Raises:
        UserError: one of them is no run, is given twice, or is itself a merged run.
    """
    parts: list[Part] = []
    seen: dict[tuple[str, str, int], Path] = {}
    for where in runs:
        folder, record = load(where)
        which = (record.id, record.started, record.pid)
        if which in seen:
            raise UserError(
                f"{where} is the same run as {seen[which]}", hint="Name each run once."
            )
        seen[which] = where
        if record.parts:
            raise UserError(
                f"{where} is a merged run", hint=f"Merge the runs that it is made of: {folder / 'parts'}/*."
            )
        plan = load_plan(folder / PLAN_JSON) if (folder / PLAN_JSON).is_file() else None
        parts.append(Part(folder=folder, record=record, plan=plan))
    return sorted(
        parts,
        key=lambda part: (
            part.record.flavour, part.record.shard.number if part.record.shard else 0, part.record.started,
        ),
    )  # fmt: skip


def unjudged_of(part: Part, parts: Sequence[Part]) -> list[str]:
    """Cells of a part that no part has a verdict of."""
    judged = set().union(*(other.judged for other in parts))
    return [cell for cell in part.planned if cell not in judged]


def problems(parts: Sequence[Part], plans: Mapping[Path, Plan]) -> tuple[dict[str, str], list[str]]:
    """Why the merged run cannot be green.

    Args:
        plans: what must be there, by the files that they came from.

    Returns:
        What is wrong with each part, by its name; and what no part has.
    """
    wrong = _cut_short(parts)
    for name, problem in _other_artifacts(parts).items():
        wrong[name] = "; ".join(filter(None, [wrong.get(name, ""), problem]))
    return wrong, [*_missing_shards(parts), *_missing_cells(parts, plans)]


def _few(cells: Sequence[str]) -> str:
    more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    return f"{cells[0]}{more}" if cells else "no cell"


def _without(cells: Sequence[str]) -> str:
    return f"without a verdict: {_few(cells)}" if cells else "it did not come to its end"


def _cut_short(parts: Sequence[Part]) -> dict[str, str]:
    """Parts that did not run to their end, unless each of their cells has a verdict of another part.

    Such a retry is told (see ``notes_of``), and its verdicts count beside those of the first part.
    """
    wrong = {}
    for part in parts:
        missing = unjudged_of(part, parts)
        if missing or (part.record.state != "finished" and not _ran_again(part, parts)):
            how = part.record.state if part.record.state != "finished" else "incomplete"
            why = f" ({part.record.error.message})" if part.record.error else ""
            wrong[part.name] = f"{how}{why}: {_without(missing)}"
    return wrong


def _ran_again(part: Part, parts: Sequence[Part]) -> bool:
    """Whether another part ran all cells of this one to its end; no, if it never came to a plan."""
    return bool(part.planned) and any(
        other is not part and other.record.state == "finished" and other.judged >= set(part.planned)
        for other in parts
    )


def _other_artifacts(parts: Sequence[Part]) -> dict[str, str]:
    """Parts whose artifacts or tests differ from those of most parts of their kind."""
    wrong: dict[str, str] = {}
    for kind in dict.fromkeys(part.kind for part in parts):
        alike = [part for part in parts if part.kind == kind]
        usual: dict[str, str] = {}
        for name in sorted({name for part in alike for name in _used(part)}):
            # Ties go to the part that comes first.
            counted = Counter(_used(part)[name] for part in alike if name in _used(part))
            usual[name] = counted.most_common(1)[0][0]
        for part in alike:
            used = _used(part).items()
            other = [f"{name} {key}, not {usual[name]}" for name, key in used if key != usual[name]]
            if other:
                wrong[part.name] = f"other artifacts: {', '.join(other)}"
    return wrong


def _used(part: Part) -> dict[str, str]:
    """What a part tested, and with which tests."""
    keys = {name: key[:12] for name, key in keys_of(part.record).items()}
    commit = part.record.harness.get("commit", "")
    return keys | ({"harness": commit} if commit else {})


def _missing_shards(parts: Sequence[Part]) -> list[str]:
    """Shards of which there is no part."""
    out = []
    for plan, of in dict.fromkeys((p.record.shard.plan, p.record.shard.of) for p in parts if p.record.shard):
        mine = [p for p in parts if p.record.shard and (p.record.shard.plan, p.record.shard.of) == (plan, of)]
        there = {p.record.shard.number for p in mine if p.record.shard}
        known = next((p.plan for p in mine if p.plan), None)
        others = {p.record.shard.number: p for p in parts if p.record.shard and p.record.shard.plan != plan}
        for number in range(1, of + 1):
            if number in there:
                continue
            cells = [one.cell for one in known.cells if one.shard == number] if known else []
            if known and not cells:
                continue  # it has nothing to run
            like = others.get(number)
            hint = f"; {like.name} is of another plan" if like and like.kind == mine[0].kind else ""
            out.append(f"shard {number}/{of} of {mine[0].name}'s plan is missing: {_few(cells)}{hint}")
    return out


def _missing_cells(parts: Sequence[Part], plans: Mapping[Path, Plan]) -> list[str]:
    judged = set().union(*(part.judged for part in parts))
    planned = {cell for part in parts for cell in part.planned}
    out = []
    for path, plan in plans.items():
        # Cells that a part has planned are told with that part.
        missing = [one.cell for one in plan.cells if one.cell not in judged and one.cell not in planned]
        if missing:
            count = f"{len(missing)} of the {len(plan.cells)} cells"
            out.append(f"no part has {count} of {path}: {_few(missing)}")
    return out


def notes_of(parts: Sequence[Part]) -> list[str]:
    """What a reader should know although it is no problem."""
    out = []
    for part in parts:
        if part.record.state != "finished" and _ran_again(part, parts):
            doing = f" during: {part.record.doing}" if part.record.doing else ""
            out.append(f"{part.name} was {part.record.state}{doing}; another part ran its cells again")
    qemus = {part.record.host.get("qemu", "") for part in parts}
    if len(qemus) > 1:
        out.append(f"the parts ran with different QEMUs: {', '.join(sorted(filter(None, qemus)))}")
    return out
