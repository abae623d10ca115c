# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files belong to an XTF checkout."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fakes import Held, beside

from harness.build.xtf import build, files_of
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.store.artifacts import Store


def test_other_folder_is_not_accepted_as_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a checkout of XTF"):
        files_of(tmp_path)


def test_build_products_are_not_part_of_a_checkout(tmp_path: Path) -> None:
    for name in ("xtf-runner", "tests/a/main.c", "tests/a/main-pv64.o", "tests/a/test-pv64-a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_of(tmp_path) == [Path("tests/a/main.c"), Path("xtf-runner")]


def test_a_checkout_of_xtf_that_is_edited_while_its_build_waits(
    tmp_path: Path
) -> None:
    store, said = Store(tmp_path / "store"), io.StringIO()
    checkout = tmp_path / "xtf"
    (checkout / "tests/a").mkdir(parents=True)
    (checkout / "xtf-runner").touch()
    (checkout / "Makefile").write_text("all:\n\tmkdir -p tests/a && cp text tests/a/test-pv64-a\n")
    (checkout / "text").write_text("first")
    progress = Progress(said)
    first = build(checkout, store=store, progress=progress)
    assert (first / "test-pv64-a").read_text() == "first"
    (checkout / "text").write_text("second")
    locks = {path.name for path in (store.root / "locks").iterdir()}
    built: list[Path] = []

    def again() -> None:
        built.append(build(checkout, store=store, progress=progress))

    # The key of what is asked for, found by asking for it in a store of another place.
    key = build(checkout, store=Store(tmp_path / "other"), progress=progress).name
    assert f"xtf-{key}" not in locks
    held = Held(store, f"xtf-{key}")

    def go_on() -> None:
        (checkout / "text").write_text("third")
        held.close()

    beside(again, until=lambda: "waiting" in said.getvalue(), then=go_on)
    assert (built[0] / "test-pv64-a").read_text() == "third" and built[0].name != key
    assert not (store.root / "xtf" / key).exists()
