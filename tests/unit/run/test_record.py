# SPDX-License-Identifier: GPL-2.0-or-later
"""run.json: what is read, and what is refused; every field is documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import recorder

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.run.record import load
from harness.run.recorder import now


@pytest.mark.parametrize("text", ["", "{", '{"id": 1}', '{"schema": 1}', "[]"])
def test_file_that_is_no_run_is_a_user_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert caught.value.hint


def test_missing_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run at"):
        load(tmp_path / "nothing")


def test_unknown_fields_of_a_newer_harness_are_ignored(tmp_path: Path) -> None:
    rec = recorder(tmp_path)
    rec.record.state = "finished"
    rec.save()
    text = json.loads(rec.path.read_text()) | {"new_field": 1}
    rec.path.write_text(json.dumps(text))
    assert load(tmp_path)[1].id == "x"


def test_every_field_is_documented() -> None:
    """docs/run.json.md documents every field of every record."""
    import msgspec

    from harness.run import record as module

    text = (CHECKOUT / "docs" / "run.json.md").read_text()
    structs = [
        s
        for s in vars(module).values()
        if isinstance(s, type) and issubclass(s, msgspec.Struct) and s is not msgspec.Struct
    ]
    assert len(structs) >= 10
    missing = [
        f"{s.__name__}.{name}" for s in structs for name in s.__struct_fields__ if f"`{name}`" not in text
    ]
    assert not missing


def test_a_run_of_schema_1_is_still_read(tmp_path: Path) -> None:
    """The document of commit 3770a5a: other names for two fields."""
    row = {"abi": "3l", "guest": "dom0", "path": "raw", "opened": 2, "sent": 2, "seen": 3, "lost": 0}
    test = {"cell": "c", "test": "t", "suite": "s", "guest": "dom0", "abi": "3l", "figures": {"cost": 5}}
    document = {
        "id": "a", "command": ["evh", "run"], "reproduce": "evh run", "started": now(), "schema": 1,
        "state": "finished", "rows": [row | {"doubled": 1, "seconds": 1.0}], "tests": [test],
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(document))
    _, record = load(tmp_path)
    assert record.schema == 2
    assert [r.duplicated for r in record.rows] == [1]
    assert record.tests[0].metrics == {"cost": 5}
