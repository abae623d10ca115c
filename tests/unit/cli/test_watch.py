# SPDX-License-Identifier: GPL-2.0-or-later
"""What `evh watch` passes on to `evh run`; that it runs again is in tests/unit/dev/test_watch.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.records import Verdict
from harness.dev import watch
from harness.dev.watch import Outcome


def test_options_are_those_of_run_and_the_code_is_the_last_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xen" / "xen" / "common").mkdir(parents=True)
    seen: dict[str, Any] = {}

    def fake(words: list[str], **rest: Any) -> Outcome:
        seen.update(rest, words=words)
        return Outcome(verdict=Verdict.FAIL, code=1, seconds=1.0, folder=tmp_path)

    monkeypatch.setattr(watch, "watch", fake)
    line = "watch --suite conformance --guest bare-pv64 --abi 3l --seeds 1-3 -k a -j 2"
    done = CliRunner().invoke(app, [*line.split(), "--xen-tree", str(tmp_path / "xen")])
    assert done.exit_code == 1, done.output
    assert seen["words"] == [
        "--suite", "conformance", "--guest", "bare-pv64", "--abi", "3l", "--seeds", "1-3", "-k", "a",
        "--xen-tree", str(tmp_path / "xen"), "--jobs", "2",
    ]  # fmt: skip
    assert seen["trees"] == [tmp_path / "xen"]


@pytest.mark.parametrize("words", ["--suite nosuch", "--xen-tree /nowhere", "nosuch_test.py", "--guest vax"])
def test_mistake_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(watch, "watch", lambda *args, **rest: pytest.fail("it ran"))
    assert CliRunner().invoke(app, ["watch", *words.split()]).exit_code == 2
