# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots bare guests for a run. Each is booted once and recorded in run.json."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.records import Accelerator, Built
from harness.machine import bare
from harness.machine.bare import BareRun, BareSpec
from harness.machine.rescue import Rescue
from harness.monitor.gcov import measure, write_listing
from harness.monitor.knownissues import KnownIssues
from harness.plan.flavours import FLAVOURS
from harness.run.record import BootRecord, ConsoleRecord, CoverageRecord
from harness.run.recorder import Recorder

if TYPE_CHECKING:
    from harness.core.progress import Progress

LISTING = "coverage.txt"


class BareBoots:
    """Boots the bare guest that a test asks for, unless this run has booted it already.

    Args:
        flavour: Xen's flavour. With ``coverage``, each boot leaves Xen's counters in the run folder
            until ``close`` evaluates them.
        xen_args: words for Xen's command line at each boot, in addition to a test's own.
        known: crashes to pass over.
    """

    def __init__(
        self,
        *,
        built: Built,
        accelerator: Accelerator,
        recorder: Recorder,
        progress: Progress,
        flavour: str,
        xen_args: str = "",
        known: KnownIssues | None = None,
    ) -> None:
        self._built = built
        self._accelerator = accelerator
        self._recorder = recorder
        self._progress = progress
        self._xen_args = xen_args
        self._known = known
        self._covered = FLAVOURS[flavour].gcov
        self._runs: dict[BareSpec, tuple[BareRun, int]] = {}
        self._memories: list[Path] = []

    def get(self, kind: str, **words: Any) -> tuple[BareRun, int]:
        """The result of a boot, and its number in run.json.

        Args:
            words: fields of ``BareSpec``.

        Raises:
            UserError: there is no such bare guest. InfraError: QEMU cannot be started.
        """
        spec = BareSpec(kind=kind, **words)
        spec = replace(spec, xen_args=" ".join(filter(None, (spec.xen_args, self._xen_args))))
        if spec not in self._runs:
            title = f"boot {kind} {spec.args}".rstrip()
            with self._recorder.doing(title), self._progress.step(title, announce_end=False):
                self._runs[spec] = self._boot(spec)
        return self._runs[spec]

    def _boot(self, spec: BareSpec) -> tuple[BareRun, int]:
        record, run_dir = self._recorder.record, self._recorder.run_dir
        number = len(record.boots) + 1
        name = spec.name
        if any(boot.console == f"console-{name}.log" for boot in record.boots):
            name = f"{name}-{number}"
        rescue = None
        if self._covered:
            memory = run_dir / f"coverage-{number}.memory"
            rescue = Rescue(syms=self._built.xen_syms, dest=memory)
        run = bare.boot_spec(
            spec,
            xen=self._built.xen,
            guests=self._built.bare,
            accelerator=self._accelerator,
            run_dir=run_dir,
            name=name,
            coverage=rescue,
            known=self._known,
        )
        if rescue is not None and not rescue.problem:
            self._memories.append(memory)
        elif rescue is not None:
            # The harness ended a machine that hung; its counters are lost, and the verdict says why.
            record.notes.append(f"no coverage from {name}: {rescue.problem}")
        file = str(run.console.relative_to(run_dir))
        record.boots.append(
            BootRecord(
                number=number,
                kind=spec.kind,
                args=spec.args,
                seed=spec.seed,
                deterministic=spec.deterministic,
                vcpus=spec.vcpus,
                memory_mib=spec.memory_mib,
                xen_args=spec.xen_args,
                verdict=run.verdict,
                reason=run.reason,
                seconds=run.seconds,
                time_scale=run.time_scale,
                accelerator="tcg" if spec.deterministic else self._accelerator.kind,
                console=file,
            )
        )
        record.consoles.append(ConsoleRecord(layer=name, file=file, bytes=run.console.stat().st_size))
        self._recorder.save()
        return run, number

    def close(self) -> None:
        """Turn the counters that the boots left into coverage metrics, and remove the files.

        Raises:
            InfraError: gcov is missing or rejects its input.
        """
        if not self._memories:
            return
        with (
            self._recorder.doing("measure coverage"),
            self._progress.step("measure coverage", announce_end=False),
            tempfile.TemporaryDirectory() as work,
        ):
            files = measure(
                syms=self._built.xen_syms,
                notes=self._built.xen_syms.parent / "coverage",
                memories=self._memories,
                work=Path(work),
            )
            write_listing(self._recorder.run_dir / LISTING, files)
            self._recorder.record.coverage = [
                CoverageRecord(
                    file=file.file,
                    what=file.what,
                    lines=file.lines,
                    covered=file.covered,
                    uncovered=[number for number, _ in file.uncovered],
                )
                for file in files
            ]
            for memory in self._memories:
                memory.unlink()
