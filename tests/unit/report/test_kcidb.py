# SPDX-License-Identifier: GPL-2.0-or-later
"""The export for KCIDB, judged by the library of KCIDB itself."""

from __future__ import annotations

import json

import kcidb_io
import pytest
from fakes import NASTY, recorded

from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.report.kcidb import kcidb, path_of
from harness.run.record import RunRecord


def document(record: RunRecord) -> dict[str, list[dict[str, object]]]:
    found = json.loads(kcidb(record, origin="my_lab"))
    kcidb_io.schema.V5_3.validate(found)
    assert kcidb_io.schema.V5_3.is_compatible_exactly(found)
    return found


def test_run_is_valid_and_whole() -> None:
    record = recorded()
    record.tests[2].verdict = None
    found = document(record)
    assert [test["status"] for test in found["tests"]] == ["PASS", "FAIL", "MISS"]
    assert len({test["id"] for test in found["tests"]}) == 3
    assert [test["misc"]["cell"] for test in found["tests"]] == [test.cell for test in record.tests]
    assert {test["build_id"] for test in found["tests"]} == {build["id"] for build in found["builds"]}
    assert {build["checkout_id"] for build in found["builds"]} == {found["checkouts"][0]["id"]}


def test_what_consoles_print_is_valid() -> None:
    record = recorded()
    record.tests[1].evidence = record.tests[1].reason = NASTY * 2000
    record.tests[1].test = "test_x[a.b::c-é/..]"
    found = document(record)
    assert len(found["tests"][1]["log_excerpt"]) <= 16 << 10
    assert found["tests"][1]["path"] == path_of(record.tests[1]) == "evtchn.limits.test_x_a_b_c-"


def test_empty_run_is_valid() -> None:
    record = recorded()
    record.tests, record.sources, record.accelerator = [], [], None
    assert document(record)["tests"] == []


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_a_status(verdict: Verdict) -> None:
    record = recorded()
    record.tests[0].verdict = verdict
    assert document(record)["tests"][0]["status"] in ("PASS", "FAIL", "ERROR", "SKIP")


def test_origin_is_checked() -> None:
    for bad in ("", "My Lab", "a:b", "é"):
        with pytest.raises(UserError, match="not the name of a CI system"):
            kcidb(recorded(), origin=bad)
