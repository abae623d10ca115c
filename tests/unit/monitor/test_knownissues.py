# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: read strictly, passed over and counted, never a panic, and not for ever."""

import datetime
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.monitor.crashtable import Severity
from harness.monitor.knownissues import KnownIssues, load

ENTRY = """
[[issue]]
layer = "guest"
pattern = 'WARNING: .*drivers/net'
why = "warns when its queue is full"
until = 2027-03-31
"""
LINE = "[ 1.0] WARNING: CPU: 1 PID: 7 at drivers/net/xen-netfront.c:1 x+0x1/0x2"
BEFORE, AFTER = datetime.date(2027, 3, 31), datetime.date(2027, 4, 1)


def entries(tmp_path: Path, text: str = ENTRY) -> KnownIssues:
    file = tmp_path / "known-issues.toml"
    file.write_text(text)
    return KnownIssues(load(file), today=BEFORE)


def test_it_is_passed_over_in_any_guest_and_counted(tmp_path: Path) -> None:
    known = entries(tmp_path)
    assert known.passes("guest:a", LINE, Severity.WARNING)
    assert known.passes("guest:b", LINE, Severity.OOPS)
    assert not known.passes("dom0", LINE, Severity.WARNING), "another layer"
    assert not known.passes("guest:a", "BUG: x", Severity.WARNING), "another line"
    assert known.total == 2 and [count for _, count in known.counts()] == [2]
    assert known.complaints() == []


def test_a_panic_is_never_passed_over(tmp_path: Path) -> None:
    known = entries(tmp_path)
    assert not known.passes("guest:a", LINE, Severity.PANIC) and known.total == 0


def test_a_layer_may_name_one_guest(tmp_path: Path) -> None:
    known = entries(tmp_path, ENTRY.replace('"guest"', '"guest:a"'))
    assert known.passes("guest:a", LINE, Severity.WARNING)
    assert not known.passes("guest:b", LINE, Severity.WARNING)


def test_after_its_last_day_it_counts_again_and_the_report_says_so(tmp_path: Path) -> None:
    known = KnownIssues(entries(tmp_path).entries, today=AFTER)
    assert not known.passes("guest:a", LINE, Severity.WARNING)
    (said,) = known.complaints()
    assert "expired on 2027-03-31" in said and "seen 1 times" in said


def test_an_entry_that_matches_nothing_is_complained_about(tmp_path: Path) -> None:
    (said,) = entries(tmp_path).complaints()
    assert "matched nothing" in said and "drivers/net" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"guest"', '"gest"', "none of xen, dom0"),
        ("'WARNING: .*drivers/net'", "'('", "not a regular expression"),
        ("'WARNING: .*drivers/net'", "'.*'", "matches every line"),
        ('"warns when its queue is full"', '" "', "`why` is empty"),
        ("until = 2027-03-31", "", "until"),
        ("until = 2027-03-31", 'until = "soon"', "until"),
        ("until", "untill", "untill"),
        ("[[issue]]", "[[issues]]", "issues"),
        ("layer =", "layer", "not a valid file"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        entries(tmp_path, ENTRY.replace(old, new))
    assert said in error.value.message and "known-issues.toml" in error.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load(tmp_path / "none.toml")
