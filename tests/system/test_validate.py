# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch of this project's own Xen series, built by Xen's own Makefiles in the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.paths import CHECKOUT
from harness.core.progress import Progress
from harness.core.records import Verdict
from harness.store.artifacts import Store
from harness.validate import sandbox
from harness.validate.read import read_all
from harness.validate.record import PatchRecord
from harness.validate.validate import Request, validate

# Documentation alone.
SUBJECT = "docs: mention the 3-level event channel ABI"


def validated(folder: Path) -> list[PatchRecord]:
    store, progress = Store(), Progress()
    with read_all([str(CHECKOUT / "xen-patches/4.20")], store=store, progress=progress) as placed:
        (number,) = (one.number for one in placed[0].series.patches if one.subject == SUBJECT)
        request = Request(level="build", first=number, last=number, confined=not sandbox.problem())
        record = validate(placed, request, folder=folder, store=store, progress=progress)
    assert record.verdict is Verdict.PASS
    return record.series[0].steps


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_patch_of_documentation_gives_the_same_hypervisor(tmp_path: Path) -> None:
    """The commit's id must not be in it: Xen's Makefile asks git for one."""
    before, patch = validated(tmp_path)
    assert before.build is not None and patch.build is not None
    assert patch.build.same_as == before.number and patch.build.summary == before.build.summary
    assert patch.build.text == before.build.text > 1_000_000
    assert set(patch.build.structs) == {"domain", "vcpu", "evtchn"}
    assert "CHANGELOG.md" in patch.outside
    again = validated(tmp_path)
    assert [step.build.hit for step in again if step.build] == [True, True]
