# SPDX-License-Identifier: GPL-2.0-or-later
"""The real backends pass on what a run was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.records import GuestSpec, Trees
from harness.plan.selection import select
from harness.run.backends import real_backends
from harness.run.request import RunRequest

TREES = Trees(xen_tree=Path("x"), linux="6.12")
REQUEST = RunRequest(
    selection=select(suites=["smoke"], flavour="linux-debug", xtf=Path("c")),
    trees=TREES,
    jobs=3,
)


@pytest.mark.parametrize(
    ("replaced", "call", "want"),
    [
        (
            "harness.build.graph.build",
            lambda backends: backends.build(REQUEST, None, frozenset({"hvm"})),
            {"trees": TREES, "flavour": "linux-debug", "components": {"hvm"}},
        ),
        (
            "harness.build.kunit.build_kernel",
            lambda backends: backends.kunit(REQUEST, None, "kunit32"),
            {"trees": TREES, "flavour": "linux-debug"},
        ),
        ("harness.build.xtf.build", lambda backends: backends.xtf(REQUEST, None), {}),
    ],
    ids=["build", "kunit", "xtf"],
)
def test_build_gets_trees_flavour_jobs_and_the_users_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: str, call: Any, want: dict[str, Any]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: dict[str, Any] = {}
    monkeypatch.setattr(replaced, lambda *args, **words: asked.update(words))
    call(real_backends())
    assert asked.pop("store").root == tmp_path / "evtchn-harness"
    assert asked == {"progress": None, "jobs": 3} | want


def test_guest_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    class Started:
        def __init__(self, machine: str, spec: GuestSpec) -> None:
            self.of = (machine, spec)

        def start(self) -> tuple[str, GuestSpec]:
            return self.of

    monkeypatch.setattr("harness.guest.guest.Guest", Started)
    spec = GuestSpec(name="a", kind="pv64")
    assert real_backends().guest("machine", spec) == ("machine", spec)  # type: ignore[arg-type,comparison-overlap]
