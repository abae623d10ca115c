# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of what was read."""

from __future__ import annotations

from harness.validate.read import read_all
from harness.validate.show import lines_of


def test_everything_that_was_read_and_left_out_is_told(xen, store, progress, tmp_path) -> None:
    out = tmp_path / "out"
    xen.mails(out, "-v1")
    xen.mails(out, "-v2", "--cover-letter", f"--base={xen.base}")
    (out / "README").write_text("read me\n")
    with read_all([str(out)], xen=str(xen.path), store=store, progress=progress) as (placed,):
        assert list(lines_of(placed)) == [
            f"{out}: 3 patches for xen, v2",
            "title: *** SUBJECT HERE ***",
            "  1  xen/evtchn: first",
            "  2  xen/evtchn: second",
            "  3  xen/evtchn: third",
            "author: t <t@example.org>",
            f"base: {xen.path} at {xen.base[:12]} (base-commit {xen.base[:12]})",
            "left out: README (neither named like a patch nor a mail)",
            "left out: v1 (3 patches) (an older version)",
        ]
