# SPDX-License-Identifier: GPL-2.0-or-later
"""Bisections of a small tree by the real git, make and gcc; a program in place of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from validate.conftest import edit, small_tree
from validate.small import ProgramRunner

from harness.core.errors import InfraError, UserError
from harness.core.records import Verdict
from harness.store.artifacts import Store
from harness.validate import sandbox
from harness.validate.base import Found
from harness.validate.behave import Part
from harness.validate.bisect import Bisection, bisect_tree
from harness.validate.building import Builder
from harness.validate.worktree import work_tree

ID = "base/release/bare-pv64/3l/conformance::once/1"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory):
    tree = small_tree(tmp_path_factory.mktemp("bisect") / "xen")
    edit(tree, "int main", "/* why */ int main", "1 a comment")
    edit(tree, "cost = 1000;", "cost = 1000 nonsense;", "2 does not build")
    edit(tree, "1000 nonsense", "1010", "3 builds again")
    edit(tree, "cost = 1010", "cost = 1020", "4 a cost")
    edit(tree, "int seen = 1;", "int seen = 2;", "5 the culprit")
    edit(tree, "/* why */", "/* because */", "6 another comment")
    edit(tree, "cost = 1020", "cost = 1030", "7 the end")
    return tree


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One for all tests here, so that each commit is built once."""
    return Store(tmp_path_factory.mktemp("bisections"))


@pytest.fixture
def find(tree, store, progress):
    def run(good: str, bad: str, *, runner=None, repeat: int = 1):
        made = runner or ProgramRunner()
        base = Found(kind="xen", repo=tree.path, commit=tree.base, name="", how="")
        said: list[str] = []
        with work_tree(base, store=store, progress=progress) as work:
            builder = Builder(
                kind="xen", tree=work, store=store, progress=progress, confined=not sandbox.problem()
            )
            part = Part(suite="conformance", cell=ID)
            one = Bisection(tree=work, builder=builder, runner=made, part=part, repeat=repeat)
            return one.between(good, bad, say=said.append), said, made

    return run


def test_the_culprit_is_found_past_a_commit_that_does_not_build(tree, find) -> None:
    answer, said, runner = find(tree.base, "master")
    assert answer.subject == "5 the culprit" and not answer.among and answer.confidence == 1
    assert len(answer.tried) <= 6
    assert said[0].endswith("7 the end: fail: once is wrong")
    skipped = [one for one in answer.tried if one.word == "skip"]
    assert all("does not build" in one.why for one in skipped)
    assert len(runner.ran) == len(answer.tried) - len(skipped)


def test_the_wrong_ends(tree, find) -> None:
    with pytest.raises(UserError, match="the bad end, master~4, is good"):
        find(tree.base, "master~4")
    with pytest.raises(UserError, match="the good end, master~1, is bad"):
        find("master~1", "master")
    with pytest.raises(UserError, match="the good end, master~5, is skip: does not build"):
        find("master~5", "master")


def test_only_skipped_commits_are_left(tree, find) -> None:
    class Lame(ProgramRunner):
        """Machines that fail for all bad commits but the end."""

        def __call__(self, part, facts):
            ran = super().__call__(part, facts)
            if ran.cells[0].verdict is Verdict.FAIL and len(self.ran) > 2:
                raise InfraError("no machine", hint="")
            return ran

    answer, _, _ = find("master~4", "master", runner=Lame())
    assert not answer.first_bad and len(answer.among) >= 2


def test_confidence_of_a_cell_that_fails_at_times(tree, find) -> None:
    class Flaky(ProgramRunner):
        """The fault shows in every second run."""

        def __call__(self, part, facts):
            ran = super().__call__(part, facts)
            if part.turn % 2:
                cells = tuple(type(c)(id=c.id, verdict=Verdict.PASS) for c in ran.cells)
                return type(ran)(**{**vars(ran), "cells": cells})
            return ran

    answer, said, _ = find(tree.base, "master", runner=Flaky(), repeat=4)
    assert answer.subject == "5 the culprit"
    good = [one for one in answer.tried if one.word == "good"]
    assert all(one.confidence == pytest.approx(1 - 0.5**4) for one in good)
    assert answer.confidence == pytest.approx((1 - 0.5**4) ** len(good))
    assert "(2 passed, 2 failed)" in said[0]


def test_the_users_tree_is_as_before(tree, find) -> None:
    before = sorted(path.name for path in (tree.path / ".git").iterdir())
    find(tree.base, "master")
    assert sorted(path.name for path in (tree.path / ".git").iterdir()) == before
    assert isinstance(tree.path, Path)


def test_what_cannot_be_bisected(tree, store, progress, tmp_path) -> None:
    def of(path: Path, good: str, bad: str, cell: str = ID) -> None:
        bisect_tree(
            path, good, bad, cell=cell, repeat=1, confined=False, accelerator="tcg", jobs=1,
            store=store, progress=progress, say=print,
        )  # fmt: skip

    for words, says in (
        ((tree.path, "master", tree.base), "is no ancestor of"),
        ((tree.path, "absent", "master"), "has no commit absent"),
        ((tmp_path, "a", "b"), "is not a git tree that"),
        ((tree.path, tree.base, "master", "nonsense"), "is not a cell id"),
    ):
        with pytest.raises(UserError, match=says):
            of(*words)
