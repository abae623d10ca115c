# SPDX-License-Identifier: GPL-2.0-or-later
"""What b4 is told, of a real validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.validate.b4 import check, patch_id


def test_patches_and_the_cover_letter_of_a_validated_series(whole, of_planted, mails) -> None:
    told = [check(path.read_bytes(), store=of_planted.store)[0] for path in mails]
    assert [one["status"] for one in told] == [
        "fail", "warn", "warn", "fail", "fail", "warn", "warn", "warn", "fail",
    ]  # fmt: skip
    assert all(set(one) == {"tool", "status", "summary", "url", "details"} for one in told)
    assert told[0]["summary"].startswith("crash: 8 patches; red: 3, 4, 8")
    assert told[3]["summary"].startswith("patch 3: regression: bare-pv64/3l/conformance::bound/1: crash")
    assert "cost of bare-pv64 send" in told[7]["details"] and "no Signed-off-by" in told[1]["details"]


def test_what_was_not_validated(of_planted, xen, tmp_path: Path) -> None:
    path = xen.mails(tmp_path / "out", count=1)[0]
    (one,) = check(path.read_bytes(), store=of_planted.store)
    assert (one["status"], one["summary"]) == ("warn", "not validated yet")


def test_what_is_no_mail(store, xen, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no mail"):
        check(b"", store=store)
    two = b"".join(path.read_bytes() for path in xen.mails(tmp_path / "out", count=2))
    with pytest.raises(UserError, match="holds 2 mails"):
        check(two, store=store)


def test_patch_ids_do_not_depend_on_the_place() -> None:
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -{0},3 +{0},3 @@\n a\n-b\n+c\n d\n"
    one, two = diff.format(1), diff.format(7)
    assert patch_id(one) == patch_id(two) != patch_id(one.replace("+c", "+e"))
    assert patch_id("words") == ""
