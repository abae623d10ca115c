# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites on builds: what decides a stored result, and runs that do not come to their end."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import fake_built

from harness.core.errors import InfraError
from harness.core.records import Source
from harness.core.signals import Interrupted
from harness.plan.guests import GUESTS
from harness.plan.suites import SUITES
from harness.run.backends import real_backends
from harness.store.artifacts import Artifact
from harness.validate.behave import LEVELS, Behaviour, Part, code_of

ARTIFACT = Artifact(path=Path("/none"), key="k", hit=True, reason="", files={})
BARE = Part(suite="conformance", linux=False)


@pytest.fixture
def behaviour(store, progress) -> Behaviour:
    source = Source(name="xen", version="v", origin="series:x")
    return Behaviour(kind="xen", source=source, store=store, progress=progress)


def test_levels_name_suites_and_guests_that_exist() -> None:
    for parts in LEVELS.values():
        assert {part.suite for part in parts} <= set(SUITES)
        assert {guest for part in parts for guest in part.guests} <= set(GUESTS)
    order = [[part.suite for part in LEVELS[name]] for name in ("build", "bare", "quick")]
    assert order[1][: len(order[0])] == order[0] and order[2][: len(order[1])] == order[1]


def test_what_decides_a_result(behaviour: Behaviour) -> None:
    built = replace(fake_built(), keys={"xen": "one", "bare": "b"})
    first = behaviour._inputs(BARE, built, "summary")
    # Another build with the same content has the same results; nothing else may differ.
    assert behaviour._inputs(BARE, replace(built, keys={"xen": "two", "bare": "b"}), "summary") == first
    for other in (
        behaviour._inputs(BARE, built, "another"),
        behaviour._inputs(replace(BARE, suite="bench"), built, "summary"),
        behaviour._inputs(replace(BARE, keyword="x"), built, "summary"),
        behaviour._inputs(replace(BARE, every=True), built, "summary"),
        behaviour._inputs(BARE, replace(built, keys={"xen": "one", "bare": "c"}), "summary"),
        replace(behaviour, accelerator="tcg")._inputs(BARE, built, "summary"),
    ):
        assert other != first


def test_linux_runs_only_guests_with_its_kernel(behaviour: Behaviour) -> None:
    smoke = Part(suite="smoke")
    assert behaviour.fitting(smoke) == smoke
    assert replace(behaviour, kind="linux").fitting(smoke).guests == ("dom0", "pv64", "pvh64")


def test_code_of_a_room(tmp_path: Path) -> None:
    room = tmp_path / "harness/run"
    room.mkdir(parents=True)
    (room / "a.py").write_text("x = 1\n")
    one = code_of(["run"], checkout=tmp_path)
    (room / "a.py").write_text("x = 2\n")
    assert code_of(["run"], checkout=tmp_path) != one


def test_a_run_that_fails_is_no_result(behaviour: Behaviour, tmp_path: Path) -> None:
    def choose(_: str):
        raise InfraError("no QEMU here", hint="")

    broken = replace(behaviour, backends=replace(real_backends(), choose=choose))
    with pytest.raises(InfraError, match="the suite conformance did not come to its end: no QEMU here"):
        broken._run(BARE, ARTIFACT, tmp_path / "run")
    assert (behaviour.store.root / "logs/validate-cells-conformance/run.json").exists()


def test_an_interrupted_run_interrupts_the_validation(behaviour: Behaviour, tmp_path: Path) -> None:
    def choose(_: str):
        signal.raise_signal(signal.SIGTERM)

    stopped = replace(behaviour, backends=replace(real_backends(), choose=choose))
    with pytest.raises(Interrupted) as caught:
        stopped._run(BARE, ARTIFACT, tmp_path / "run")
    assert caught.value.number == signal.SIGTERM
