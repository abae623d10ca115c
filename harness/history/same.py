# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether two runs tested the same thing, and whether a cell did the same in both.

A cell that is red in one run and green in another on the same artifacts is *flaky*. A deterministic cell
cannot be: its boots count instructions, so a difference is an error of the harness.
"""

from __future__ import annotations

import enum
from itertools import zip_longest
from pathlib import Path

import msgspec

from harness.core.records import Verdict
from harness.run.record import RunRecord, TestResult, boot_of, is_deterministic

# Verdicts that say something about the system under test. An error is the host's or the harness's.
RED = (Verdict.FAIL, Verdict.HANG, Verdict.CRASH)


def keys_of(record: RunRecord) -> dict[str, str]:
    """Store keys of a run's artifacts, by kind."""
    return {artifact.name: artifact.key for artifact in record.artifacts}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a run tested, and with which tests.

    Attributes:
        keys: store keys of the artifacts, by kind.
        commit: of the harness, which has the tests.
        options: that change what a test does.
        files: a user's own test files.
    """

    keys: dict[str, str] = {}
    commit: str = ""
    options: dict[str, str] = {}
    files: str = ""


def subject_of(record: RunRecord) -> Subject:
    """What a run tested."""
    return Subject(
        keys=keys_of(record),
        commit=record.harness.get("commit", ""),
        options=record.options,
        files=record.plan.get("files", ""),
    )


def same_artifacts(one: Subject, other: Subject) -> bool:
    """Whether two runs are known to have tested the same artifacts with the same tests.

    One may have used artifacts that no cell of the other needs. The tests are those of the harness's commit;
    a tree with changes that are not committed, or a user's own test files, are never known to be the same.
    """
    common = one.keys.keys() & other.keys.keys()
    return (
        bool(common)
        and all(one.keys[name] == other.keys[name] for name in common)
        and bool(one.commit)
        and not one.commit.endswith("-dirty")
        and one.commit == other.commit
        and one.options == other.options
        and not one.files
        and not other.files
    )


class Relation(enum.StrEnum):
    """How two results of one cell on the same artifacts relate."""

    SAME = "same"
    FLAKY = "flaky"
    BROKEN = "broken"  # a deterministic cell differs: an error of the harness


def relation(
    one: tuple[Path, RunRecord, TestResult], two: tuple[Path, RunRecord, TestResult]
) -> tuple[Relation, str]:
    """Compare two results of a cell, each with its run folder and record, made on the same artifacts.

    Returns:
        How they relate, and why.
    """
    (_, record, test), (_, other_record, other) = one, two
    both = is_deterministic(record, test) and is_deterministic(other_record, other)
    if both and (why := _deterministic_difference(one, two)):
        return Relation.BROKEN, why
    verdicts = {test.verdict, other.verdict}
    if Verdict.PASS in verdicts and verdicts & set(RED):
        return Relation.FLAKY, f"{test.verdict} in {record.id}, {other.verdict} in {other_record.id}"
    return Relation.SAME, ""


def _deterministic_difference(
    one: tuple[Path, RunRecord, TestResult], two: tuple[Path, RunRecord, TestResult]
) -> str:
    """Why two results of a deterministic cell contradict each other; empty if they do not."""
    (folder, record, test), (other_folder, other_record, other) = one, two
    before, after = boot_of(record, test), boot_of(other_record, other)
    assert before is not None and after is not None
    if record.host.get("qemu") != other_record.host.get("qemu"):
        return ""  # another QEMU may count otherwise
    alike = "args", "xen_args", "vcpus", "memory_mib", "seed"
    if any(getattr(before, name) != getattr(after, name) for name in alike):
        return ""
    # A deadline is wall-clock time, so a slow host may cut a boot short that another one finishes.
    cut = Verdict.HANG in (before.verdict, after.verdict) or Verdict.ERROR in (test.verdict, other.verdict)
    if not cut and test.verdict != other.verdict:
        return f"{test.verdict} in {record.id}, {other.verdict} in {other_record.id}"
    if not cut and test.metrics != other.metrics:
        was, now = test.metrics, other.metrics
        name = next(name for name in was | now if was.get(name) != now.get(name))
        return f"{name} is {was.get(name)} in {record.id}, {now.get(name)} in {other_record.id}"
    try:
        said, again = (folder / before.console).read_bytes(), (other_folder / after.console).read_bytes()
    except OSError:
        return ""  # removed since
    if where := differences(said, again, cut=cut):
        return f"the console of {record.id} differs from that of {other_record.id}: {where}"
    return ""


def differences(before: bytes, after: bytes, *, cut: bool = False) -> str:
    """The first difference between two consoles; empty if they are the same, byte for byte.

    Args:
        cut: a deadline ended one of them, so the shorter one need only be a prefix of the other.
    """
    if before == after:
        return ""
    one, two = before.split(b"\n"), after.split(b"\n")
    if cut:
        # The last line of the shorter one may be incomplete, and have QEMU's last words appended.
        length = min(len(before.splitlines()), len(after.splitlines())) - 1
        one, two = one[:length], two[:length]
    for number, (a, b) in enumerate(zip_longest(one, two), 1):
        if a != b:
            return f"line {number}: was {_quoted(a)}, is now {_quoted(b)}"
    return ""


def _quoted(line: bytes | None) -> str:
    return "absent" if line is None else repr(line)[1:]
