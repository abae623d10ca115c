# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugin for the suite ``kunit``: builds and boots the KUnit kernels, and provides the fixture ``kunit``.

Each kernel (``kunit64``: x86-64, ``kunit32``: i386) is built before the tests,
booted once per run by QEMU without Xen (machine/kunit.py), and recorded in run.json.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.build.kconfig import kept_wishes
from harness.core.progress import Progress
from harness.core.records import Accelerator
from harness.machine.bare import BareRun
from harness.machine.kunit import boot
from harness.monitor.knownissues import KnownIssues
from harness.monitor.ktap import Case
from harness.run.record import ArtifactRecord, ConsoleRecord, wish_record
from harness.run.recorder import Recorder
from harness.run.session import SESSION
from harness.store.artifacts import Artifact

# The symbol that the series adds with its tests.
TESTS = "CONFIG_XEN_EVENTS_KUNIT_TEST"


def skip_if_skipped(case: Case) -> None:
    """Skip the test that asks for a case which the kernel skipped."""
    if case.skipped:
        pytest.skip(case.skipped)


class KUnitCells:
    """The pytest plugin object with the fixture ``kunit``.

    Args:
        build: builds the kernel of a kind.
        known: crashes to pass over.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        progress: Progress,
        build: Callable[[str], Artifact],
        known: KnownIssues | None = None,
    ) -> None:
        self._recorder = recorder
        self._progress = progress
        self._accelerator: Accelerator | None = None
        self._build = build
        self._known = known
        self._kernels: dict[str, Path] = {}
        self._lacks: dict[str, str] = {}
        self._runs: dict[str, BareRun] = {}
        self.wanted: tuple[str, ...] = ()

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which kernels the selected tests boot."""
        params = [
            item.callspec.params["guest"]
            for item in session.items
            if "kunit" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
        ]
        self.wanted = tuple(dict.fromkeys(params))

    def prepare(self, accelerator: Accelerator) -> None:
        """Build the kernels that the selected tests boot.

        Args:
            accelerator: the run's, proven; the boots use it.

        Raises:
            as ``build_kernel``.
        """
        self._accelerator = accelerator
        for kind in self.wanted:
            with self._recorder.doing(f"build {kind}"):
                kernel = self._build(kind)
            self._kernels[kind] = kernel.path / "bzImage"
            for wish in kept_wishes(kernel.path):
                self._recorder.record.wishes.append(wish_record(kind, wish))
                if wish.symbol == TESTS:
                    self._lacks[kind] = f"this Linux has no KUnit tests of the ABI ({TESTS}: {wish.why})"
            self._recorder.record.artifacts.append(
                ArtifactRecord(name=kind, key=kernel.key, hit=kernel.hit)
            )

    @pytest.fixture
    def kunit(self, request: pytest.FixtureRequest) -> Callable[[str], BareRun]:
        """Results of a KUnit kernel: ``kunit("kunit64").case(name)``. Each is booted once per run."""

        def run(kind: str) -> BareRun:
            if why := self._lacks.get(kind):
                pytest.skip(why)
            if kind not in self._runs:
                title = f"boot {kind}"
                with self._recorder.doing(title), self._progress.step(title, announce_end=False):
                    self._runs[kind] = self._boot(kind)
            running = request.config.stash[SESSION].running
            assert running is not None
            running.bare = self._runs[kind]
            return replace(self._runs[kind], on_result=skip_if_skipped)

        return run

    def _boot(self, kind: str) -> BareRun:
        run_dir = self._recorder.run_dir
        assert self._accelerator is not None, "prepare() comes first"
        run = boot(
            self._kernels[kind], kind=kind, accelerator=self._accelerator, run_dir=run_dir, known=self._known
        )
        self._recorder.record.consoles.append(
            ConsoleRecord(
                layer=kind, file=run.console.name, bytes=run.console.stat().st_size, time_scale=run.time_scale
            )
        )
        self._recorder.save()
        return run

