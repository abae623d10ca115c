# SPDX-License-Identifier: GPL-2.0-or-later
"""From mails to one series: the newest whole version, in order; everything else is named as left out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UserError
from harness.validate.mails import LeftOut, Mail, all_ids
from harness.validate.patches import Patch, Series

_REPLY = re.compile(r"^\s*(?:re|aw|antw|sv|vs|fwd?|r)(?:\[\d+\])?\s*:", re.IGNORECASE)
_BRACKETS = re.compile(r"^\s*\[([^\]]*)\]")
_VERSION = re.compile(r"(?:^|[\s,]|PATCH)v(\d+)(?:\.(\d+))?(?=[\s,]|$)", re.IGNORECASE)
_NUMBER = re.compile(r"(?:^|[\s,])(\d+)/(\d+)(?=[\s,]|$)")
# git send-email numbers the ids of one call: <20261129120000.1234-3-me@host>.
_ID_NUMBER = re.compile(r"-\d+-")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A mail with what its subject says.

    Attributes:
        title: the subject without brackets.
        version: (2, 0) for v2, (2, 1) for v2.1; (1, 0) if it does not say.
        number, total: of ``3/7``; None: not numbered.
    """

    mail: Mail
    title: str
    version: tuple[int, int]
    number: int | None
    total: int | None


def read_subject(mail: Mail) -> Sent:
    """What a subject says: ``[PATCH v2 3/7] title``."""
    rest, said = mail.subject, ""
    while bracket := _BRACKETS.match(rest):
        said, rest = f"{said} {bracket[1]}", rest[bracket.end() :]
    version, number = _VERSION.search(said), _NUMBER.search(said)
    return Sent(
        mail=mail,
        title=" ".join(rest.split()),
        version=(int(version[1]), int(version[2] or 0)) if version else (1, 0),
        number=int(number[1]) if number else None,
        total=int(number[2]) if number else None,
    )


def name_of(version: tuple[int, int]) -> str:
    """``v2``, ``v2.1``."""
    return f"v{version[0]}" + (f".{version[1]}" if version[1] else "")


def choose(mails: Sequence[Mail], *, source: Path, left_out: Sequence[LeftOut] = ()) -> Series:
    """The series in these mails.

    Args:
        source: what the user named, for messages.
        left_out: files that were left out before.

    Raises:
        UserError: no mail holds a patch, a patch is missing or damaged, or they are of two series.
    """
    leaving = [*left_out]
    sent = [read_subject(mail) for mail in _once(mails, leaving)]
    covers, patches = [], []
    for one in sent:
        if _REPLY.match(one.mail.subject):
            leaving.append(LeftOut(what=_called(one), why="a reply"))
        elif one.number == 0:
            covers.append(one)
        elif "@@ -" in one.mail.diff or "diff --git" in one.mail.diff:
            patches.append(one)
        elif one.number:
            raise UserError(
                f"the mail {one.mail.subject!r} ({one.mail.where}) in {source} holds no patch",
                hint="A mail program may have quoted or reformatted it: save it as it was sent.",
            )
        else:
            leaving.append(LeftOut(what=_called(one), why="holds no patch"))
    if not patches:
        raise UserError(f"no mail in {source} holds a patch", hint="Is this the mailbox of the series?")
    patches = _without_replies(patches, leaving)
    groups: dict[tuple[int, int], list[Sent]] = defaultdict(list)
    for one in patches:
        groups[one.version].append(one)
    _refuse_strangers(groups, covers, source)
    return _newest_whole(groups, covers, source=source, leaving=leaving)


def _newest_whole(
    groups: dict[tuple[int, int], list[Sent]],
    covers: Sequence[Sent],
    *,
    source: Path,
    leaving: list[LeftOut],
) -> Series:
    lacking = {version: _lacks(group, _cover_of(covers, version, source), source)
               for version, group in groups.items()}  # fmt: skip
    whole = [version for version, lacks in lacking.items() if not lacks]
    if not whole:
        newest = max(groups)
        raise UserError(
            f"the series in {source} is not whole: {lacking[newest]}"
            + (f" of {name_of(newest)}" if len(groups) > 1 else ""),
            hint="Save the missing mail, too, for example with `b4 am`.",
        )
    chosen = max(whole)
    for version in sorted(groups.keys() | {cover.version for cover in covers}):
        if version != chosen:
            why = "an older version" if version < chosen else lacking.get(version) or "a cover letter alone"
            count = len(groups.get(version, ()))
            leaving.append(LeftOut(what=f"{name_of(version)} ({count} patches)", why=why))
    group = sorted(groups[chosen], key=lambda one: one.number or 0)  # stable: others stay in their order
    cover = _cover_of(covers, chosen, source)
    notes = [*_notes(group), *_announced(cover, group)]
    return Series(
        source=str(source),
        patches=tuple(
            Patch(
                number=place, subject=one.title, author=one.mail.author, message=one.mail.message,
                diff=one.mail.diff, mail=one.mail,
            )
            for place, one in enumerate(group, 1)
        ),
        title=cover.title if cover else group[0].title if len(group) == 1 else "",
        version=name_of(chosen) if chosen != (1, 0) else "",
        cover=cover.mail if cover else None,
        left_out=tuple(leaving),
        notes=tuple(dict.fromkeys(notes)),
        folder=source if source.is_dir() else source.parent,
        trailers=_trailers([cover, *group] if cover else group),
    )  # fmt: skip


def _once(mails: Iterable[Mail], leaving: list[LeftOut]) -> list[Mail]:
    """Each mail once: a list's archive and one's own copy may both be in a mailbox."""
    seen: dict[tuple[str, str, str], Mail] = {}
    for mail in mails:
        key = (mail.subject, mail.author, mail.text if not mail.diff else mail.diff)
        if not mail.subject and not mail.diff:
            leaving.append(LeftOut(what=mail.where, why="no mail"))
        elif key in seen:
            leaving.append(LeftOut(what=f"{mail.where}: {mail.subject}", why=f"as {seen[key].where}"))
        else:
            seen[key] = mail
    return list(seen.values())


def _without_replies(patches: list[Sent], leaving: list[LeftOut]) -> list[Sent]:
    """Leave out patches that somebody sent in a thread of a numbered series, without a number of it."""
    numbered = [one for one in patches if one.number]
    if not numbered:
        return patches
    ids = {one.mail.message_id for one in numbered} | all_ids([one.mail for one in numbered])
    kept = []
    for one in patches:
        if one.number is None and set(one.mail.references) & ids:
            leaving.append(LeftOut(what=_called(one), why="sent in reply to the series, and no part of it"))
        else:
            kept.append(one)
    return kept


def _refuse_strangers(
    groups: dict[tuple[int, int], list[Sent]], covers: Sequence[Sent], source: Path
) -> None:
    """Refuse mails of two series.

    Raises:
        UserError: a number is there twice, totals or threads differ, or versions have nothing in common.
    """
    for version, group in groups.items():
        totals = {one.total for one in group} | {c.total for c in covers if c.version == version and
                                                 any(one.total for one in group)}  # fmt: skip
        if len(totals) > 1:
            ones = [next(one for one in [*group, *covers] if one.total == total) for total in totals]
            raise _two(source, *sorted(ones, key=lambda one: one.total or 0)[:2])
        if beyond := [one for one in group if one.number and one.total and one.number > one.total]:
            raise UserError(
                f"{source}: {beyond[0].mail.subject!r} ({beyond[0].mail.where}) is beyond its own total",
                hint="Number the patches again: `git format-patch` does.",
            )
        for number, count in Counter(one.number for one in group).items():
            if number and count > 1:
                same = [one for one in group if one.number == number]
                raise _two(source, *same[:2])
        _refuse_two_threads(group, source)
    versions = sorted(groups)
    for version in versions[1:]:
        earlier = [one for v in versions if v < version for one in groups[v]]
        if not _related(earlier, groups[version], covers):
            raise _two(source, earlier[0], groups[version][0])


def _refuse_two_threads(group: Sequence[Sent], source: Path) -> None:
    """Refuse mails of one version that are in two threads, where they are in threads at all."""
    if len(group) < 2 or not all(one.mail.message_id for one in group):
        return
    threads: list[tuple[set[str], list[Sent]]] = []
    for one in group:
        ids = all_ids([one.mail]) | {_ID_NUMBER.sub("-", one.mail.message_id, count=1)}
        joined = [thread for thread in threads if thread[0] & ids]
        threads = [thread for thread in threads if thread not in joined]
        threads.append((ids.union(*(thread[0] for thread in joined)),
                        [*(m for thread in joined for m in thread[1]), one]))  # fmt: skip
    numbered = all(one.number for one in group)
    # Numbered mails may have been sent one by one, so that none refers to another.
    if len(threads) > 1 and not (numbered and all(len(members) == 1 for _, members in threads)):
        raise _two(source, threads[0][1][0], threads[1][1][0])


def _related(earlier: Sequence[Sent], later: Sequence[Sent], covers: Sequence[Sent]) -> bool:
    """Whether two versions are of one series: a title, a change id or a thread in common."""
    marks = []
    for group in (earlier, later):
        versions = {one.version for one in group}
        whole = [*group, *(cover for cover in covers if cover.version in versions)]
        marks.append(
            {one.title.lower() for one in whole}
            | {_trailer(one.mail, "change-id") for one in whole}
            | all_ids([one.mail for one in whole])
        )
    return bool((marks[0] & marks[1]) - {""})


def _two(source: Path, one: Sent, other: Sent) -> UserError:
    if one.number and one.number == other.number and one.title == other.title:
        what = f"patch {one.number}/{one.total} is in {source} twice, and the two differ"
    else:
        what = f"{source} holds mails of two series: {one.mail.subject!r} and {other.mail.subject!r}"
    return UserError(f"{what} ({one.mail.where}; {other.mail.where})", hint="Give a file to each series.")


def _cover_of(covers: Sequence[Sent], version: tuple[int, int], source: Path) -> Sent | None:
    its = [cover for cover in covers if cover.version == version]
    if len(its) > 1:
        raise _two(source, its[0], its[1])
    return its[0] if its else None


def _lacks(group: Sequence[Sent], cover: Sent | None, source: Path) -> str:
    """What a version lacks to be whole; empty: nothing."""
    numbers = {one.number for one in group}
    total = group[0].total
    if total is None:
        announced = cover.total if cover else 0
        if announced and announced > len(group):
            return f"the cover letter announces {announced} patches, and {len(group)} are there"
        return ""
    missing = [str(n) for n in range(1, total + 1) if n not in numbers]
    several = "patches" if len(missing) > 1 else "patch"
    return f"{several} {', '.join(missing)} of {total} missing" if missing else ""


def _announced(cover: Sent | None, group: Sequence[Sent]) -> list[str]:
    if cover and cover.total and group[0].total is None and cover.total != len(group):
        return [f"the cover letter announces {cover.total} patches, and there are {len(group)}"]
    return []


def _notes(group: Sequence[Sent]) -> list[str]:
    notes = [f"{one.mail.where}: {note}" for one in group for note in one.mail.notes]
    notes += [f"{one.mail.where}: sent as format=flowed" for one in group if one.mail.flowed]
    if len(notes) > 3 and len({note.partition(": ")[2] for note in notes}) == 1:
        return [f"{len(notes)} mails: {notes[0].partition(': ')[2]}"]
    return notes


def _trailers(mails: Sequence[Sent]) -> dict[str, str]:
    """What `git format-patch --base` and b4 add to the mails of a series."""
    found: dict[str, str] = {}
    for name in ("base-commit", "change-id", "prerequisite-patch-id"):
        for one in mails:
            if value := _trailer(one.mail, name):
                found.setdefault(name, value)
    return found


def _trailer(mail: Mail, name: str) -> str:
    match = re.search(rf"^{name}: (\S+)\s*$", mail.text, re.MULTILINE)
    return match[1] if match else ""


def _called(one: Sent) -> str:
    return f"{one.mail.where}: {one.mail.subject}"
