# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite ``kunit`` in a run: which kernels are built and how often each is booted; QEMU is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import fake_artifact, fake_backends

from harness.build.kconfig import keep_wishes
from harness.core.progress import Progress
from harness.core.records import Verdict, Wish
from harness.machine.bare import BareRun
from harness.monitor import ktap
from harness.run import kunit
from harness.run.request import RunRequest
from harness.store.artifacts import Artifact

LOG = "KTAP version 1\n1..3\nok 1 order\nnot ok 2 scan\nok 3 smp # SKIP needs two CPUs\n"
TEST = """
    @pytest.mark.cell(abi="3l")
    @pytest.mark.parametrize("guest", ["kunit64"])
    @pytest.mark.parametrize("case", ["order", "scan", "smp"])
    def test_k(kunit, guest, case):
        assert kunit(guest).case(case).ok
"""


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The kernels that were booted, in order."""
    kernels: list[Path] = []

    def boot(kernel: Path, *, kind: str, run_dir: Path, **words: Any) -> BareRun:
        kernels.append(kernel)
        console = run_dir / f"console-{kind}.log"
        console.write_text(LOG)
        results = ktap.parse(LOG.splitlines())
        return BareRun(
            verdict=Verdict.FAIL, reason="", layer="linux", results=results, console=console, seconds=1.0
        )

    monkeypatch.setattr(kunit, "boot", boot)
    return kernels


def test_kernel_of_the_selected_tests_is_built_and_booted_once(evh, booted: list[Path]) -> None:
    built: list[str] = []
    log: list[str] = []

    def build(request: RunRequest, progress: Progress, kind: str) -> Artifact:
        built.append(kind)
        return fake_artifact(Path("/k") / kind)

    got = evh(TEST, backends=replace(fake_backends(log), kunit=build))
    assert (built, booted) == (["kunit64"], [Path("/k/kunit64/bzImage")])
    artifacts = {artifact.name: (artifact.key, artifact.hit) for artifact in got.record.artifacts}
    assert artifacts["kunit64"] == ("c" * 32, False)
    assert got.verdicts == {
        "test_k[order-kunit64]": Verdict.PASS,
        "test_k[scan-kunit64]": Verdict.FAIL,
        "test_k[smp-kunit64]": Verdict.SKIP,
    }
    assert got.test("test_k[smp-kunit64]").reason == "needs two CPUs"
    assert [(c.layer, c.file) for c in got.record.consoles] == [("kunit64", "console-kunit64.log")]
    assert any(step.step == "build kunit64" for step in got.record.timings)


def test_cells_of_a_linux_without_the_tests_are_skips(evh, booted: list[Path], tmp_path: Path) -> None:
    wish = Wish(symbol=kunit.TESTS, value="y", place="k.config:1", why="this tree has no such symbol")
    keep_wishes(tmp_path, [wish])
    log: list[str] = []
    backends = replace(fake_backends(log), kunit=lambda request, progress, kind: fake_artifact(tmp_path))
    got = evh(TEST, backends=backends)
    assert set(got.verdicts.values()) == {Verdict.SKIP}
    assert booted == []
    assert "no KUnit tests of the ABI" in got.record.tests[0].reason
    assert [wish.kernel for wish in got.record.wishes] == ["kunit64"]


def test_run_without_such_tests_builds_no_such_kernel(evh, booted: list[Path]) -> None:
    log: list[str] = []
    backends = replace(fake_backends(log), kunit=lambda *_: pytest.fail("built"))
    assert evh("def test_a(): pass", backends=backends).verdicts == {"test_a": Verdict.PASS}
    assert booted == []
