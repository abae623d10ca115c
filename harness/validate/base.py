# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the commit that a series applies to: named by the user, by its mails, or by its blobs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.environment import environment
from harness.core.errors import EvhError, InfraError, UserError
from harness.core.progress import Progress
from harness.source import bases
from harness.source.bases import FOLDERS, Base
from harness.source.fetch import fetch
from harness.source.series import BASE_REF, IDENTITY, git, tree_path, unpack_early
from harness.store.artifacts import Store
from harness.validate.patches import Patch, Series, kinds_of

# How many commits of a tree's history are searched for the blobs of a series.
SEARCHED = 3000
MARKS = {"xen": "xen/common/event_channel.c", "linux": "drivers/xen/events/events_base.c"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """The base of a series.

    Attributes:
        kind: ``xen`` or ``linux``.
        repo: a git tree that has the commit. Nothing in it is changed.
        commit: its full id.
        name: for people: ``xen 4.20.3``, or the tree and its revision.
        how: how it was found, in a few words.
        tried: what was looked at before, each with its answer.
        pinned: a project's base, whose tree is a release without history.
    """

    kind: str
    repo: Path
    commit: str
    name: str
    how: str
    tried: tuple[str, ...] = ()
    pinned: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a base may be: a tree, and a commit in it that the user named (empty: none)."""

    kind: str
    repo: Path
    name: str
    commit: str = ""
    # Ids that upstream has for the same content.
    also: tuple[str, ...] = ()
    pinned: bool = False


@dataclass(kw_only=True)
class Search:
    """A search for a base: what was given, and what was tried.

    Attributes:
        given: what --xen and --linux name, by kind.
    """

    store: Store
    progress: Progress
    given: dict[str, str] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)


def find_base(series: Series, search: Search) -> Found:
    """The base of a series.

    The order: an end of the range, what the user gave, ``base-commit:``, the patches' blob ids.

    Raises:
        UserError: it is neither of Xen nor of Linux, or there is no base; the message has what was tried.
    """
    if series.tree is not None:
        return _of_range(series, series.tree)
    kinds = kinds_of(series.patches)
    if not kinds:
        paths = sorted({change.path for patch in series.patches for change in patch.changes})
        raise UserError(
            f"{series.source} is neither a series of Xen nor one of Linux alone: "
            f"it changes {', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}",
            hint="evh validates series of Xen and of Linux; give a file to each.",
        )
    if len(kinds) == 2 and len(search.given) == 1:
        kinds = set(search.given)
    named = series.trailers.get("base-commit", "")
    wanted = blobs_of(series.patches)
    given = {kind: place_of(kind, word, search) for kind, word in search.given.items() if kind in kinds}
    for kind, place in given.items():
        found = (named and _by_commit(named, place, search)) or _by_blobs(place, wanted, search)
        if found:
            return found
        if len(given) == 1:
            how = "as given; not all of the patches' blobs are in it"
            return _found(place, place.commit or _rev(place.repo, "HEAD"), how, search)
        kinds.discard(kind)
    for base in (base for kind in sorted(kinds) for base in _candidates(kind, series, named)):
        try:
            place = _pinned(base, search)
        except InfraError as error:
            search.tried.append(f"{base.name}: {error.message.splitlines()[0]}")
            continue
        found = (named and _by_commit(named, place, search)) or _by_blobs(place, wanted, search)
        if found:
            return found
    raise UserError(
        f"the base of {series.source} is not to be found; tried: {'; '.join(search.tried) or 'nothing'}",
        hint=f"Name it: --{'|--'.join(sorted(kinds))} TREE, a clone that has the commit, or TREE:COMMIT.",
    )


def _of_range(series: Series, tree: Path) -> Found:
    kind = kind_of(tree, series.base)
    name = f"{tree} at {series.base[:12]}"
    return Found(kind=kind, repo=tree, commit=series.base, name=name, how="the range begins there")


def kind_of(tree: Path, commit: str) -> str:
    """Whether a commit is one of Xen or of Linux.

    Raises:
        UserError: it is neither.
    """
    kinds = [kind for kind, mark in MARKS.items() if _has(tree, commit, mark)]
    if len(kinds) != 1:
        raise UserError(
            f"{tree} is neither a Xen tree nor a Linux tree: it has neither {' nor '.join(MARKS.values())}",
            hint="Name a clone of Xen or Linux.",
        )
    return kinds[0]


def _has(repo: Path, commit: str, path: str) -> bool:
    return _ids(repo, [f"{commit}:{path}"])[0] != ""


def _candidates(kind: str, series: Series, named: str) -> list[Base]:
    """This project's bases of one kind: the series' own, the one that is the named commit, the default one,
    then the others, the newest first."""
    every = bases.every(kind)
    file = series.folder / "base.toml" if series.folder else None
    own = [bases.load(file.parent)] if file and file.exists() else []
    commits = {base: [one.commit for one in base.file.upstream] for base in every}
    first = [base for base in every if named and any(id_.startswith(named) for id_ in commits[base])]
    default = [base for base in every if base.file.default]
    ordered = {base.folder.resolve(): base for base in [*own, *first, *default, *reversed(every)]}
    return [base for base in ordered.values() if base.file.component == kind]


def place_of(kind: str, given: str, search: Search) -> Place:
    """What --xen or --linux names: one of the project's bases, a folder with base.toml, TREE or TREE:COMMIT.

    Raises:
        UserError: it is none of them.
    """
    path, _, rev = given.rpartition(":") if ":" in given and not Path(given).exists() else (given, "", "")
    where = Path(path).expanduser()
    for folder in (where, bases.project_root() / FOLDERS[kind] / given):
        if (folder / "base.toml").is_file():
            return _pinned(bases.load(folder), search)
    if not where.is_dir():
        raise UserError(
            f"--{kind} {given}: neither a base of this project nor a folder",
            hint=f"Name a clone of {kind}, with :COMMIT for a certain one, or a folder of {FOLDERS[kind]}.",
        )
    try:
        commit = _rev(where, rev or "HEAD")
    except EvhError as error:
        raise UserError(
            f"--{kind} {given}: not a git tree, or it has no commit {rev or 'HEAD'}",
            hint="Name a clone, and a commit that it has.",
        ) from error
    if not _has(where, commit, MARKS[kind]):
        raise UserError(f"--{kind} {given} is not a {kind} tree: it has no {MARKS[kind]}",
                        hint=f"Name a clone of {kind}.")  # fmt: skip
    return Place(kind=kind, repo=where.resolve(), name=str(where), commit=commit if rev else "")


def _pinned(base: Base, search: Search) -> Place:
    source = fetch(base, store=search.store, progress=search.progress)
    repo = tree_path(search.store, source)
    if not (repo / ".git").is_dir():
        # Otherwise its objects are there, and whoever builds in it meanwhile changes none of them.
        unpack_early(source, store=search.store, progress=search.progress)
    also = tuple(one.commit for one in base.file.upstream if one.commit and one.version == source.version)
    name = f"{source.name} {source.version}"
    return Place(kind=source.name, repo=repo, name=name, commit=_rev(repo, BASE_REF), also=also, pinned=True)


def _by_commit(named: str, place: Place, search: Search) -> Found | None:
    if any(one.startswith(named) for one in place.also):
        return _found(place, place.commit, f"base-commit {named[:12]}, which that release is", search)
    if not place.pinned and (id_ := _ids(place.repo, [f"{named}^{{commit}}"])[0]):
        return _found(place, id_, f"base-commit {named[:12]}", search)
    search.tried.append(f"base-commit {named[:12]}: not in {place.name}")
    return None


def _found(place: Place, commit: str, how: str, search: Search) -> Found:
    name = place.name if place.pinned else f"{place.name} at {commit[:12]}"
    return Found(kind=place.kind, repo=place.repo, commit=commit, name=name, how=how,
                 tried=tuple(search.tried), pinned=place.pinned)  # fmt: skip


def blobs_of(patches: Sequence[Patch]) -> dict[str, str]:
    """Blob id of each file as the series expects it, before any of its patches: its first ``index`` line.

    An id may be abbreviated. Files that the series makes are left out.
    """
    wanted: dict[str, str] = {}
    seen: set[str] = set()
    for patch in patches:
        for change in patch.changes:
            if change.old not in seen and change.before:
                wanted[change.old] = change.before
        seen |= {path for change in patch.changes for path in (change.old, change.path)}
    return wanted


def _by_blobs(place: Place, wanted: dict[str, str], search: Search) -> Found | None:
    if not wanted:
        search.tried.append(f"{place.name}: the patches have no blob ids")
        return None
    first = place.commit or _rev(place.repo, "HEAD")
    differ = differing(place.repo, first, wanted)
    if not differ:
        how = f"it has the blobs of all {len(wanted)} files that the series changes"
        return _found(place, first, how, search)
    search.tried.append(
        f"{place.name}{'' if place.pinned else f' at {first[:12]}'}: {len(differ)} of {len(wanted)} files "
        f"are not as the series expects them, among them {differ[0]}"
    )
    if place.commit:
        return None
    for commit in _history(place.repo, list(wanted)):
        if not differing(place.repo, commit, wanted):
            how = f"the newest commit with the blobs of all {len(wanted)} files that the series changes"
            return _found(place, commit, how, search)
    search.tried.append(f"{place.name}: no other commit of its last {SEARCHED} that change these files")
    return None


def differing(repo: Path, commit: str, wanted: dict[str, str]) -> list[str]:
    """The files of which a commit has another blob than ``wanted``, or none."""
    ids = _ids(repo, [f"{commit}:{path}" for path in wanted])
    return [path for (path, blob), id_ in zip(wanted.items(), ids, strict=True)
            if not id_ or not id_.startswith(blob)]  # fmt: skip


def _history(repo: Path, paths: Sequence[str]) -> Iterator[str]:
    """Commits of all branches and tags that change one of these files, newest first."""
    words = ["rev-list", "--all", f"--max-count={SEARCHED}", "--date-order", "--", *paths]
    yield from git(repo, *words, what="search the history for the base").split()


def _rev(repo: Path, rev: str) -> str:
    return git(repo, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}",
               what=f"look up {rev} in {repo}").strip()  # fmt: skip


def _ids(repo: Path, names: Sequence[str]) -> list[str]:
    """Object id of each name (``COMMIT:PATH``); empty: there is none."""
    # By hand, since it answers on its standard output what it reads from its input.
    done = subprocess.run(
        ["git", "-C", str(repo), "cat-file", "--batch-check=%(objectname)"],
        input="".join(f"{name}\n" for name in names), capture_output=True, text=True,
        env=environment(IDENTITY), check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    return [line if re.fullmatch(r"[0-9a-f]{40,64}", line) else "" for line in lines] or [""] * len(names)
