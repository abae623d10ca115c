# SPDX-License-Identifier: GPL-2.0-or-later
"""validate.json: written, read back, and documented."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.core.errors import UserError
from harness.core.paths import CHECKOUT
from harness.validate import record
from harness.validate.record import ValidateRecord, load, save


def test_written_and_read_back(tmp_path: Path) -> None:
    one = ValidateRecord(id="x", command=["evh"], started="now", level="quick", sandbox=True)
    save(tmp_path, one)
    assert load(tmp_path) == load(tmp_path / "validate.json") == one
    with pytest.raises(UserError, match="no validation at"):
        load(tmp_path / "absent")
    (tmp_path / "validate.json").write_text("{}")
    with pytest.raises(UserError, match="is no record of a validation"):
        load(tmp_path)


def test_every_field_is_documented() -> None:
    text = (CHECKOUT / "docs/validate.md").read_text()
    structs = [one for one in vars(record).values() if isinstance(one, type)
               and issubclass(one, msgspec.Struct) and one is not msgspec.Struct]  # fmt: skip
    fields = {name for struct in structs for name in struct.__struct_fields__}
    assert len(structs) >= 7
    assert sorted(name for name in fields if f"`{name}`" not in text) == []
