# SPDX-License-Identifier: GPL-2.0-or-later
"""What a patch says of the files that it changes."""

from __future__ import annotations

import pytest
from fakes import git

from harness.validate.patches import Change, Patch, changes, kinds_of


def test_files_and_blobs_of_a_diff(xen) -> None:
    old = git(xen.path, "rev-parse", "HEAD:Makefile")
    (xen.path / "new.c").write_text("int x;\n")
    git(xen.path, "mv", "Makefile", "Makefile.old")
    git(xen.path, "rm", "-q", "xen/common/event_channel.c")
    git(xen.path, "add", ".")
    git(xen.path, "commit", "-q", "-m", "all of it")
    found = {c.path: c for c in changes(git(xen.path, "show", "--format=", "--full-index", "-M", "HEAD"))}
    assert found["new.c"].before == "" and found["new.c"].after
    assert found["Makefile.old"] == Change(path="Makefile.old", old="Makefile")
    gone = found["xen/common/event_channel.c"]
    assert gone.before and not gone.after
    assert old


def patch(*paths: str) -> Patch:
    diff = "".join(f"diff --git a/{path} b/{path}\nindex 1..2\n" for path in paths)
    return Patch(number=1, subject="", author="", message="", diff=diff)


@pytest.mark.parametrize(
    ("paths", "kinds"),
    [
        (("xen/common/sched.c", "tools/tests/Makefile", "CHANGELOG.md"), {"xen"}),
        (("drivers/xen/evtchn.c", "include/xen/events.h", "MAINTAINERS"), {"linux"}),
        (("tools/Makefile", "MAINTAINERS"), {"xen", "linux"}),
        (("hw/xen/xen-bus.c",), set()),
        (("xen/common/sched.c", "NEWFILE"), {"xen"}),
        (("xen/common/sched.c", "drivers/xen/evtchn.c"), set()),
    ],
)
def test_which_tree_a_series_is_for(paths: tuple[str, ...], kinds: set[str]) -> None:
    assert kinds_of((patch(*paths),)) == kinds
