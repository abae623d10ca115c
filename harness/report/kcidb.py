# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as KCIDB I/O data, version 5.3: what kernel CI systems submit their results as.

Ids are ``origin:anything``; the origin has small letters, digits and underscores alone. A test's path has
words of letters, digits, ``_`` and ``-`` between dots, so brackets and colons of a cell become ``_``, and
``misc`` has the cell as it is. Commits are given in full there, and run.json has short ones: see ``misc``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.core.text import printable
from harness.run.record import RunRecord, TestResult

VERSION = {"major": 5, "minor": 3}
STATUS = {
    Verdict.PASS: "PASS",
    Verdict.SKIP: "SKIP",
    Verdict.FAIL: "FAIL",
    Verdict.HANG: "FAIL",
    Verdict.CRASH: "FAIL",
    Verdict.ERROR: "ERROR",
}
EXCERPT = 16 << 10  # characters, as KCIDB's own limit


def kcidb(record: RunRecord, *, origin: str) -> str:
    """The run as JSON: one checkout, one build for each base and flavour, one test for each cell.

    Args:
        origin: the name of the CI system.

    Raises:
        UserError: the origin is not valid.
    """
    if not re.fullmatch(r"[a-z0-9_]+", origin, re.ASCII):
        raise UserError(
            f"--origin {origin}: not the name of a CI system",
            hint="Use small letters, digits and underscores.",
        )
    checkout = {
        "id": f"{origin}:{_text(record.id)}", "origin": origin, "valid": True, "comment": _comment(record),
        "start_time": _time(record.started), "misc": {"harness": record.harness, "run": record.reproduce},
    }  # fmt: skip
    kinds = dict.fromkeys("/".join(test.cell.split("/")[:2]) for test in record.tests)
    document = {
        "version": VERSION,
        "checkouts": [checkout],
        "builds": [_build(record, checkout["id"], origin, kind) for kind in kinds],
        "tests": [_test(record, origin, test) for test in record.tests],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


def _build(record: RunRecord, checkout: Any, origin: str, kind: str) -> dict[str, Any]:
    return {
        "id": _build_id(record, origin, kind), "origin": origin, "checkout_id": checkout, "status": "PASS",
        "architecture": "x86_64", "config_name": _text(kind),
        "misc": {"artifacts": {one.name: one.key for one in record.artifacts}},
    }  # fmt: skip


def _build_id(record: RunRecord, origin: str, kind: str) -> str:
    return f"{origin}:{_text(record.id)}/{_text(kind)}"


def _test(record: RunRecord, origin: str, test: TestResult) -> dict[str, Any]:
    kind = "/".join(test.cell.split("/")[:2])
    host = {name: value for name, value in record.host.items() if value}
    reason = record.accelerator.reason if record.accelerator else ""
    said: dict[str, Any] = {
        "id": f"{origin}:{_text(record.id)}/{_text(test.cell)}", "origin": origin,
        "build_id": _build_id(record, origin, kind), "path": path_of(test),
        "status": STATUS[test.verdict] if test.verdict else "MISS", "duration": test.seconds,
        "environment": {"comment": _text(reason), "misc": host},
        "misc": {"cell": test.cell, "verdict": str(test.verdict or ""), "layer": test.layer,
                 "reason": test.reason, "metrics": test.metrics, "flaky": test.flaky,
                 "quarantine": test.quarantine},
    }  # fmt: skip
    if test.evidence:
        said["log_excerpt"] = _text(test.evidence)[-EXCERPT:]
    return said


def path_of(test: TestResult) -> str:
    """A test's place in the tree of tests: ``evtchn.race.test_bare_bare-pv64-x``."""
    words = ("evtchn", test.suite, test.test)
    return ".".join(re.sub(r"[^a-zA-Z0-9_-]+", "_", word, flags=re.ASCII).strip("_") or "_" for word in words)


def _comment(record: RunRecord) -> str:
    return _text(", ".join(f"{one.name} {one.version}" for one in record.sources) or "no sources")


def _text(text: str) -> str:
    return printable(text)


def _time(text: str) -> str:
    return datetime.fromisoformat(text).isoformat()
