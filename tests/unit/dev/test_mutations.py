# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutations as files, their results, and the page made from both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.dev.mutations import (
    FOLDER,
    PAGE,
    SECTIONS,
    Finding,
    Mutation,
    Result,
    Results,
    filled_in,
    load_results,
    names_of,
    read,
    read_all,
    save_results,
    table,
)

GOOD = """What: the lock is not taken
In: xen
Run: evh run --suite race --guest bare-pv64
Note: Or so.

--- a/file
+++ b/file
@@ -1 +1 @@
-lock();
+
"""


@pytest.fixture
def put(tmp_path: Path):
    def put(text: str, name: str = "no-lock") -> Path:
        path = tmp_path / f"{name}.patch"
        path.write_text(text)
        return path

    return put


def test_a_mutation_is_read(put) -> None:
    got = read(put(GOOD))
    assert (got.name, got.what, got.where) == ("no-lock", "the lock is not taken", "xen")
    assert got.run == ("evh", "run", "--suite", "race", "--guest", "bare-pv64")
    assert (got.section, got.unseen, got.note) == ("hypervisor", "", "Or so.")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("What: the lock is not taken\n", "", "lacks the line What:"),
        ("Run: evh run --suite race --guest bare-pv64\n", "", "lacks the line Run:"),
        ("In: xen", "Where: xen", ":2: 'Where: xen' is not a line"),
        ("Note: Or so.", "What: twice", ":4: 'What: twice' is not a line"),
        ("In: xen", "In: hurd", "In: hurd with Run: evh"),
        ("Run: evh", "Run: rm", "In: xen with Run: rm"),
        ("--- a/file", "*** a/file", "lacks a patch after an empty line"),
    ],
)
def test_what_is_wrong_with_a_mutation_is_said(put, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        read(put(GOOD.replace(old, new)))
    assert message in caught.value.message
    assert caught.value.hint


def test_words_for_people_leave_a_result_valid_and_the_rest_does_not(put) -> None:
    first = read(put(GOOD)).patch_digest
    assert read(put(GOOD.replace("Or so.", "Indeed."))).patch_digest == first
    assert read(put(GOOD.replace("the lock", "a lock"))).patch_digest == first
    assert read(put(GOOD.replace("bare-pv64", "bare-pv32"))).patch_digest != first
    assert read(put(GOOD.replace("-lock();", "-unlock();"))).patch_digest != first


def test_tests_are_named_once_and_what_followed_a_crash_is_not_blamed() -> None:
    failed = [Finding(test=f"t{n}", guest=guest) for guest in ("bare-pv32", "bare-pv64") for n in range(6)]
    assert names_of(failed) == "`t0`, `t1`, `t2`, `t3`, 2 more"
    lost = [Finding(test=name, verdict="crash", layer="xen") for name in ("first", "second")]
    assert names_of([failed[0], *lost]) == "`t0`, crash of xen in `first`"
    after = Finding(test="last", verdict="hang", after=True)
    assert names_of([after]) == "hang of the machine after `last`"
    assert names_of([Finding(test="", verdict="crash", layer="xen", after=True)]) == (
        "crash of xen before the first test"
    )
    assert names_of([]) == ""


def test_rows_say_what_was_seen_and_why_not(put) -> None:
    seen = read(put(GOOD))
    unseen = read(put(GOOD.replace("Note: Or so.", "Unseen: it makes no difference"), "other"))
    new = read(put(GOOD, "untried"))
    results = {
        "no-lock": Result(patch="", key="", findings=[Finding(test="race_a")]),
        "other": Result(patch="", key="", findings=[]),
    }
    lines = table([seen, unseen, new], results).splitlines()[2:]
    assert lines[0].startswith("| [the lock is not taken](../tests/mutations/no-lock.patch) | `evh run ")
    assert lines[0].endswith("| `race_a`. Or so. |")
    assert lines[1].endswith("| **not seen**: it makes no difference |")
    assert lines[2].endswith("| not tried yet |")


def test_only_the_tables_of_a_page_are_written(put) -> None:
    text = "".join(
        f"# {name}\n<!-- evh mutate: {name} -->\nold\n<!-- end -->\nby hand\n" for name in SECTIONS.values()
    )
    page = filled_in(text, [read(put(GOOD))], {})
    assert page.count("by hand") == len(SECTIONS)
    assert "old" not in page
    assert page.index("the lock is not taken") < page.index("# guest")
    assert filled_in(page, [read(put(GOOD))], {}) == page
    with pytest.raises(UserError, match="no place for the table 'guest'"):
        filled_in(page.replace("evh mutate: guest", "evh mutate: gast"), [], {})


def test_results_are_read_back_and_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    assert load_results(tmp_path) == Results()
    results = Results(mutations={"a": Result(patch="p", key="k", findings=[Finding(test="t", layer="xen")])})
    save_results(results, tmp_path)
    assert load_results(tmp_path) == results
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"results\.json is damaged"):
        load_results(tmp_path)


def test_the_page_is_what_the_results_say_of_the_mutations_there_are() -> None:
    mutations, results = read_all(CHECKOUT / FOLDER), load_results(CHECKOUT / FOLDER).mutations
    page = (CHECKOUT / PAGE).read_text()
    assert page == filled_in(page, mutations, results), "run `make mutate`"
    digests = {one.name: one.patch_digest for one in mutations}
    stale = [name for name, result in results.items() if digests.get(name) != result.patch]
    assert stale == [], "run `make mutate`"
    tried = [one for one in mutations if one.name in results]
    assert [one.name for one in tried if not results[one.name].findings and not one.unseen] == []


@pytest.mark.parametrize(
    "mutation",
    [one for one in read_all(CHECKOUT / FOLDER) if one.where == "harness"],
    ids=lambda one: one.name,
)
def test_the_harness_s_mutations_fit_its_code(mutation: Mutation) -> None:
    """The other trees are not at hand; `make mutate` tells of a patch that does not fit them."""
    path = CHECKOUT / FOLDER / f"{mutation.name}.patch"
    got = subprocess.run(["git", "apply", "--check", path], cwd=CHECKOUT, capture_output=True, text=True)
    assert got.returncode == 0, f"make {path.name} again for the changed code: {got.stderr}"
