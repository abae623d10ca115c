# SPDX-License-Identifier: GPL-2.0-or-later
"""Remarks on real commits, by the real git and perl."""

from __future__ import annotations

import pytest
from fakes import git

from harness.validate import sandbox
from harness.validate.base import Search, find_base
from harness.validate.ranges import read_range
from harness.validate.style import remarks
from harness.validate.worktree import apply_series, work_tree


@pytest.fixture
def of_last(store, progress):
    """The remarks on the last commit of a tree."""

    def get(tree, *, history: bool = True) -> list[str]:
        series = read_range(f"{tree.path}:HEAD~1..HEAD")
        base = find_base(series, Search(store=store, progress=progress))
        with work_tree(base, store=store, progress=progress) as work:
            (applied,) = apply_series(work, series)
            confined = not sandbox.problem()
            return remarks(work, series.patches[0], applied, history=history, confined=confined)

    return get


def test_a_good_patch(xen, of_last) -> None:
    body = f'Fixes: {xen.head()[:12]} ("xen/evtchn: third")\nSigned-off-by: t <t@example.org>'
    xen.commit(10, "ten", "xen: good", body)
    assert of_last(xen) == []


def test_whitespace(xen, of_last) -> None:
    xen.commit(10, "ten  ", "xen: blank", "Signed-off-by: t <t@example.org>")
    assert of_last(xen) == ["xen/common/event_channel.c:10: trailing whitespace"]


def test_sign_offs(xen, of_last) -> None:
    assert of_last(xen) == ["no Signed-off-by"]
    xen.commit(10, "ten", "xen: by another", "Signed-off-by: o <o@example.org>")
    assert of_last(xen) == ["its author, t <t@example.org>, has not signed it off"]


def test_fixes(xen, of_last) -> None:
    signed = "Signed-off-by: t <t@example.org>"
    xen.commit(10, "ten", "xen: a", f'Fixes: 0123456789ab ("xen: never")\n{signed}')
    assert of_last(xen) == ["Fixes: 0123456789ab: the tree has no such commit"]
    assert "not looked up" in of_last(xen, history=False)[0]
    xen.commit(11, "eleven", "xen: b", f'Fixes: {xen.base[:8]} ("the bass")\n{signed}')
    assert of_last(xen) == [
        f"Fixes: {xen.base[:8]}: an id of 8 digits; 12 are wanted",
        f"Fixes: {xen.base[:8]}: that commit's subject is 'the base'",
    ]


CHECKPATCH = """\
my $root = (grep { s/^--root=// } @ARGV)[0]; open my $f, '<', $ARGV[-1] or die;
my $bad = 0; while (<$f>) { if (/^\\+.*badword/) { print "x:$.: WARNING: it says badword\\n"; $bad = 1 } }
open my $w, '>', "$root/evil" and print "x:1: ERROR: could write to the tree\\n";
exit $bad;
"""


@pytest.mark.skipif(bool(sandbox.problem()), reason="no sandbox on this host")
def test_the_trees_own_checkpatch_in_the_sandbox(linux, of_last) -> None:
    (linux.path / "scripts").mkdir()
    (linux.path / "scripts/checkpatch.pl").write_text(CHECKPATCH)
    git(linux.path, "add", ".")
    git(linux.path, "commit", "-q", "-m", "scripts: add\n\nSigned-off-by: t <t@example.org>")
    linux.commit(10, "badword", "xen/events: it", "Signed-off-by: t <t@example.org>")
    (said,) = of_last(linux)
    assert said.startswith("checkpatch: WARNING: it says badword (line ")
