# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole run of a test file, on a fake machine with real consoles."""

from __future__ import annotations

import io
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import BOOT, fake_backends

from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.monitor.knownissues import Quarantine
from harness.plan.selection import select
from harness.plan.shards import Shard
from harness.report.junit import write_junit
from harness.run.backends import Backends
from harness.run.planning import Plan
from harness.run.record import RunRecord, TestResult, load
from harness.run.request import RunRequest
from harness.run.run import run


@dataclass
class Outcome:
    record: RunRecord
    folder: Path
    log: list[str]
    said: str

    @property
    def verdicts(self) -> dict[str, Verdict | None]:
        return {test.test: test.verdict for test in self.record.tests}

    def test(self, name: str) -> TestResult:
        return next(test for test in self.record.tests if test.test == name)

    def junit(self) -> dict[str, list[str]]:
        """For each test case name, the tags of its child elements."""
        cases: dict[str, list[str]] = {}
        for case in ET.parse(write_junit(self.folder, self.record)).iter("testcase"):
            test = next(test for test in self.record.tests if test.cell == case.attrib["name"])
            cases.setdefault(test.test, []).extend(
                child.tag for child in case if child.tag not in ("properties", "system-out", "system-err")
            )
        return cases


@pytest.fixture
def evh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the text of a test file as `evh run FILE` would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(
        text: str,
        *,
        backends: Backends | None = None,
        keep: bool = False,
        at_boot: bytes = BOOT,
        same: bool = True,
        shard: Shard | None = None,
        request: Mapping[str, str] | None = None,
        plan: Plan | None = None,
        quarantine: tuple[Quarantine, ...] = (),
        shuffle: int | None = None,
        **words: object,
    ) -> Outcome:
        log: list[str] = []
        sys.modules.pop("my_test", None)  # pytest imports it in this process, so each text needs a new module
        file = tmp_path / "my_test.py"
        file.write_text("import pytest\n" + textwrap.dedent(text))
        asked = RunRequest(
            selection=select(files=[str(file)], **words),
            keep=keep,
            shuffle=shuffle,
            shard=shard,
            plan=plan,
            quarantine=quarantine,
            command=("evh", "run", "my_test.py"),
            **(request or {}),
        )  # type: ignore[arg-type]
        out = io.StringIO()
        with Progress(out) as progress:
            chosen = backends or fake_backends(log, at_boot=at_boot)
            folder, record = run(asked, progress=progress, backends=chosen)
        _, on_disk = load(folder)
        assert on_disk == record or not same, "run.json is what the run returned"
        return Outcome(record=record, folder=folder, log=log, said=out.getvalue())

    return go
