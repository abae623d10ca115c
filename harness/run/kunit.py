# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux series' own unit tests (KUnit), in a small kernel booted by QEMU with no Xen under it.

What is pure in the kernel's part of the ABI (where a port's bits are, in which
order they are looked for) needs neither hypervisor nor machine. Both widths:
``kunit64`` is an x86-64 kernel, ``kunit32`` an i386 one. They are built from
tinyconfig and the fragments in the base's ``config/kunit``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.progress import Progress
from harness.core.records import Accelerator
from harness.machine.bare import BareRun
from harness.machine.kunit import boot
from harness.run.record import ConsoleRecord
from harness.run.recorder import Recorder
from harness.run.session import SESSION


class KUnitCells:
    """The part of pytest's plugin that is about KUnit: the fixture ``kunit``.

    Args:
        build: gives the bzImage of a kind.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        progress: Progress,
        accelerator: Accelerator,
        build: Callable[[str], Path],
    ) -> None:
        self._recorder = recorder
        self._progress = progress
        self._accelerator = accelerator
        self._build = build
        self._kernels: dict[str, Path] = {}
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

    def prepare(self) -> None:
        """Build what the selected tests boot.

        Raises:
            as ``build_kernel``.
        """
        for kind in self.wanted:
            with self._recorder.doing(f"build {kind}"):
                self._kernels[kind] = self._build(kind)

    @pytest.fixture
    def kunit(self, request: pytest.FixtureRequest) -> Callable[[str], BareRun]:
        """What a KUnit kernel said: ``kunit("kunit64").case(name)``. Each is booted once a run."""

        def run(kind: str) -> BareRun:
            if kind not in self._runs:
                title = f"boot {kind}"
                with self._recorder.doing(title), self._progress.step(title, announce_end=False):
                    self._runs[kind] = self._boot(kind)
            running = request.config.stash[SESSION].running
            assert running is not None
            running.bare = self._runs[kind]
            return self._runs[kind]

        return run

    def _boot(self, kind: str) -> BareRun:
        run_dir = self._recorder.run_dir
        run = boot(self._kernels[kind], kind=kind, accelerator=self._accelerator, run_dir=run_dir)
        self._recorder.record.consoles.append(
            ConsoleRecord(layer=kind, file=run.console.name, bytes=run.console.stat().st_size)
        )
        self._recorder.save()
        return run

