# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh bisect`: find the commit that broke a cell, by git's own bisect, in a work tree of its own.

A commit that does not build, or on which the cell could not be run, is skipped: it is never good. Builds
with equal contents are run once. A cell that fails only at times is repeated, and the end says how sure
the answer is: a commit where it passed n times is good with the confidence 1 - (1 - p)^n, where p is how
often it fails on the bad end, and the product over all good commits is that of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.core.errors import EvhError, InfraError, UserError
from harness.core.progress import Progress
from harness.core.records import Source, Verdict
from harness.plan.selection import select
from harness.source.series import git
from harness.store.artifacts import Store
from harness.validate import sandbox
from harness.validate.base import Found, kind_of
from harness.validate.behave import Behaviour, Part, Ran
from harness.validate.building import Builder, Facts
from harness.validate.judge import CellResult
from harness.validate.ranges import commit_of
from harness.validate.worktree import Applied, WorkTree, tree_of, work_tree

Runner = Callable[[Part, Facts], Ran]
# git's words.
GOOD, BAD, SKIP = "good", "bad", "skip"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A commit that was tried, and what it was.

    Attributes:
        word: good, bad or skip.
        why: the cell's reason, or that of the skip.
        passed, failed: how often.
        confidence: that a good one is good; 1 for the others.
    """

    commit: str
    subject: str
    word: str
    why: str = ""
    passed: int = 0
    failed: int = 0
    confidence: float = 1.0


@dataclass(kw_only=True)
class Answer:
    """The end of a bisection.

    Attributes:
        first_bad: the commit; empty: only ones that had to be skipped are left, and ``among`` has them.
    """

    tried: list[Tried] = field(default_factory=list)
    first_bad: str = ""
    subject: str = ""
    among: tuple[str, ...] = ()

    @property
    def confidence(self) -> float:
        """That no good commit was a bad one that happened to pass."""
        product = 1.0
        for one in self.tried:
            product *= one.confidence
        return product


@dataclass(kw_only=True)
class Bisection:
    """Tries commits of a work tree.

    Attributes:
        cell: id of the cell; ``part`` runs it.
        repeat: how often it runs on each commit, as long as it passes.
        rate: how often it fails on the bad end, between 0 and 1; known once that was tried.
    """

    tree: WorkTree
    builder: Builder
    runner: Runner
    part: Part
    repeat: int = 1
    rate: float = 1.0

    def between(self, good: str, bad: str, *, say: Callable[[str], None]) -> Answer:
        """Find the first bad commit.

        Args:
            good, bad: commits, the first one an ancestor of the other.

        Raises:
            UserError: the cell does not fail on the bad end, or does on the good one.
        """
        answer = Answer()

        def tried(commit: str) -> Tried:
            one = self.try_one(commit)
            answer.tried.append(one)
            counts = f" ({one.passed} passed, {one.failed} failed)" if self.repeat > 1 else ""
            say(f"{one.commit[:12]} {one.word}{counts}: {one.subject}{f': {one.why}' if one.why else ''}")
            return one

        end = tried(bad)
        if end.word != BAD:
            raise UserError(
                f"the bad end, {bad}, is {end.word}: {end.why or 'the cell passes there'}",
                hint="Is it the right cell? --repeat N tries one that fails at times.",
            )
        self.rate = end.failed / max(end.passed + end.failed, 1)
        start = tried(good)
        if start.word != GOOD:
            raise UserError(f"the good end, {good}, is {start.word}: {start.why}", hint="Name an older one.")
        for commit in self._steps(end.commit, start.commit, answer):
            self._mark(tried(commit).word)
        return answer

    def _steps(self, bad: str, good: str, answer: Answer) -> Iterator[str]:
        """The commits that git wants tried next, until it has the answer."""
        git(self.tree.path, "bisect", "start", "--no-checkout", bad, good, what="start the bisection")
        try:
            while True:
                log = git(self.tree.path, "bisect", "log", what="ask for the bisection's state")
                if found := re.search(r"^# first bad commit: \[(\w+)\] (.*)$", log, re.MULTILINE):
                    answer.first_bad, answer.subject = found[1], found[2]
                    return
                left = re.findall(r"^# possible first bad commit: \[(\w+)\]", log, re.MULTILINE)
                if left:
                    answer.among = tuple(left)
                    return
                yield git(self.tree.path, "rev-parse", "BISECT_HEAD", what="ask for the next commit").strip()
        finally:
            git(self.tree.path, "bisect", "reset", what="end the bisection")

    def _mark(self, word: str) -> None:
        try:
            git(self.tree.path, "bisect", word, "BISECT_HEAD", what=f"mark a commit as {word}")
        except EvhError:
            # git fails when only skipped commits are left; its log says so.
            log = git(self.tree.path, "bisect", "log", what="ask for the bisection's state")
            if "possible first bad commit" not in log:
                raise

    def try_one(self, rev: str) -> Tried:
        """Build a commit, and run the cell on it until it fails, or has passed ``repeat`` times."""
        commit = git(
            self.tree.path, "rev-parse", "--verify", f"{rev}^{{commit}}", what=f"look up {rev}"
        ).strip()
        subject = git(self.tree.path, "log", "-1", "--format=%s", commit, what="look at it").strip()
        one = Tried(commit=commit, subject=subject, word=SKIP)
        applied = Applied(number=1, commit=commit, tree=tree_of(self.tree.path, commit))
        facts = self.builder.build(applied, title=f"build {commit[:12]} {subject}")
        if facts.error:
            return replace(one, why=f"does not build: {facts.error}")
        passed, failed, why = 0, 0, ""
        for turn in range(self.repeat):
            try:
                ran = self.runner(replace(self.part, turn=turn), facts)
            except InfraError as error:
                return replace(one, why=error.message.splitlines()[0], passed=passed, failed=failed)
            result: CellResult | None = next((c for c in ran.cells if c.id == self.part.cell), None)
            if result is None or result.verdict is Verdict.SKIP:
                return replace(one, why=(result.reason if result else "") or "the cell is not run there")
            if result.bad:
                failed, why = failed + 1, f"{result.verdict}: {result.reason}"
            else:
                passed += 1
        if failed:
            return replace(one, word=BAD, why=why, passed=passed, failed=failed)
        sure = 1 - (1 - self.rate) ** passed
        return replace(one, word=GOOD, passed=passed, confidence=sure)


def bisect_tree(
    path: Path,
    good: str,
    bad: str,
    *,
    cell: str,
    repeat: int,
    confined: bool,
    accelerator: str,
    jobs: int | None,
    store: Store,
    progress: Progress,
    say: Callable[[str], None],
) -> Answer:
    """Bisect a clone of Xen or Linux, with this project's own build of the other tree.

    Args:
        path: the clone; it is not changed.
        cell: id of a cell, of a suite of this project.

    Raises:
        UserError: it is no such clone, an end is no commit, or the ends are not good and bad.
        InfraError: there is no sandbox, for example.
    """
    if confined:
        sandbox.check()
    wanted = select(cell=cell)
    assert wanted.cell is not None
    base = _range_of(path, good, bad)
    part = Part(suite=wanted.suites[0], linux=not wanted.cell.guest.startswith("bare-"), cell=wanted.cell.id)
    source = Source(name=base.kind, version=bad, origin=f"tree:{path}")
    behaviour = Behaviour(
        kind=base.kind, source=source, store=store, progress=progress, accelerator=accelerator, jobs=jobs
    )
    with work_tree(base, store=store, progress=progress) as tree:
        builder = Builder(
            kind=base.kind, tree=tree, store=store, progress=progress, confined=confined, jobs=jobs
        )
        one = Bisection(
            tree=tree,
            builder=builder,
            runner=lambda part, facts: behaviour.run(part, facts.artifact, facts.summary),
            part=part,
            repeat=repeat,
        )
        return one.between(good, bad, say=say)


def _range_of(path: Path, good: str, bad: str) -> Found:
    """The tree, at its good end.

    Raises:
        UserError: it is no clone of Xen or Linux, or good is no ancestor of bad.
    """
    ids = [commit_of(path, rev) for rev in (good, bad)]
    try:
        git(path, "merge-base", "--is-ancestor", *ids, what="look at the ends")
    except EvhError as error:
        raise UserError(
            f"{good} is no ancestor of {bad} in {path}", hint="Are they the right way round?"
        ) from error
    kind = kind_of(path, ids[0])
    return Found(kind=kind, repo=path.resolve(), commit=ids[0], name=str(path), how="the good end")
