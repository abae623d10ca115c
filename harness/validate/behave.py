# SPDX-License-Identifier: GPL-2.0-or-later
"""Run suites on a build of a series; what they said is kept in the store.

A result is found by the hashes of what was booted, and not by the commit. So a patch that changes nothing
has the results of the one before, and a validation that was killed goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.build import builder as building
from harness.build.built import built_of
from harness.build.compilers import cores
from harness.build.components import COMPONENTS
from harness.build.recipes import recipes
from harness.core.errors import InfraError
from harness.core.paths import CHECKOUT
from harness.core.progress import Progress
from harness.core.records import Built, Source
from harness.core.signals import Interrupted
from harness.monitor.knownissues import KnownIssue
from harness.plan.selection import select
from harness.plan.suites import SUITES, suites_dir
from harness.run.backends import Backends, real_backends
from harness.run.record import load
from harness.run.request import RunRequest
from harness.run.run import describe_host, run
from harness.store.artifacts import Artifact, Store
from harness.store.hashes import digest, sha256_of
from harness.validate.judge import CellResult

KIND = "validate-cells"
# Rooms of the harness whose code decides how a cell ends.
DECIDING = ("plan", "monitor", "machine", "guest", "run")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One run of a suite: a column of the table.

    Attributes:
        suite: a key of ``SUITES``.
        guests: keep only cells of these; empty: all of the suite's.
        keyword: as pytest's -k.
        linux: it boots Linux.
        every: run also what needs an ability that the build lacks. It fails there, on the base as well.
        cell: run this cell alone.
        turn: number of a repetition, for a cell that does not fail each time.
    """

    suite: str
    guests: tuple[str, ...] = ()
    keyword: str = ""
    linux: bool = True
    every: bool = False
    cell: str = ""
    turn: int = 0


_BARE = [Part(suite="conformance", linux=False)]
# The costs of the ABIs that a Xen has are measured, although its cells are those of the 3-level ABI.
_BENCH = [Part(suite="bench", linux=False, every=True)]
# Tests of the counting itself find nothing in Xen or Linux; 32-bit guests need a kernel of their own.
_QUICK = [Part(suite="smoke", guests=("dom0", "pv64", "pvh64"), keyword="not fault")]
_NORMAL = [
    Part(suite="smoke"),
    *(Part(suite=name, linux=False) for name in ("abuse", "race", "domains")),
    Part(suite="stress"),
]
LEVELS: dict[str, list[Part]] = {
    "build": [],
    "bare": [*_BARE, *_BENCH],
    "quick": [*_BARE, *_BENCH, *_QUICK],
    "normal": [*_BARE, *_BENCH, *_NORMAL],
    "full": [*_BARE, *_BENCH, *_NORMAL, Part(suite="limits"), Part(suite="lifecycle")],
}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a suite said of a build.

    Attributes:
        folder: the run's folder, in the store.
        hit: the store had it.
    """

    cells: tuple[CellResult, ...]
    folder: Path
    hit: bool
    accelerator: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Runs suites on builds of ``kind``, with this project's own build of the other tree.

    Attributes:
        source: what is under test, for run.json.
        backends: None: the real ones.
    """

    kind: str
    source: Source
    store: Store
    progress: Progress
    accelerator: str = "auto"
    jobs: int | None = None
    known: tuple[KnownIssue, ...] = ()
    backends: Backends | None = None

    def run(self, part: Part, artifact: Artifact, summary: str) -> Ran:
        """Run a suite on a build, unless the store has what it said of an equal one.

        Args:
            summary: the hash of all of the build's sections.

        Raises:
            InfraError: the run did not come to its end, or cells ended in an error of the harness.
        """
        built = self._built(part, artifact)
        part = self.fitting(part)

        def make(dest: Path) -> None:
            self._run(part, artifact, dest / "run")

        found = self.store.get(KIND, self._inputs(part, built, summary), make, self.progress, announce=False)
        folder, record = load(found.path / "run")
        return Ran(
            cells=tuple(
                CellResult(id=one.cell, verdict=one.verdict, layer=one.layer, reason=one.reason,
                           metrics=one.metrics, evidence=one.evidence)
                for one in record.tests if one.verdict is not None
            ),
            folder=folder, hit=found.hit, seconds=record.seconds,
            accelerator=record.accelerator.kind if record.accelerator else "",
        )  # fmt: skip

    def fitting(self, part: Part) -> Part:
        """The part without guests whose kernel is not the one under test: 32-bit ones have their own."""
        if self.kind == "linux" and part.linux:
            return replace(part, guests=part.guests or ("dom0", "pv64", "pvh64"))
        return part

    def _run(self, part: Part, artifact: Artifact, folder: Path) -> None:
        request = RunRequest(
            selection=(
                select(cell=part.cell)
                if part.cell
                else select(suites=(part.suite,), guests=part.guests, keyword=part.keyword)
            ),
            accelerator=self.accelerator, run_dir=folder, known=self.known, jobs=self.jobs,
            command=("evh", "validate"),
        )  # fmt: skip

        def build(_: RunRequest, __: Progress, components: frozenset[str]) -> Built:
            return self._built(part, artifact, components)

        backends = replace(self.backends or real_backends(), build=build)
        _, record = run(request, progress=self.progress, backends=backends)
        if record.state == "interrupted":
            raise Interrupted((record.exit_code or 130) - 128)
        errors = [one for one in record.tests if one.verdict is None or one.verdict == "error"]
        if record.error is not None or record.state != "finished" or errors:
            kept = self.store.root / "logs" / f"{KIND}-{part.suite}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("in-use"))
            why = record.error.message if record.error else f"{errors[0].cell}: {errors[0].reason}"
            raise InfraError(
                f"the suite {part.suite} did not come to its end: {why}", hint=f"See {kept}; try again."
            )

    def _built(self, part: Part, artifact: Artifact, components: Collection[str] = ()) -> Built:
        """What a machine boots: the build under test, and this project's own of all else."""
        maker = building.Builder(
            store=self.store, progress=self.progress, wanted=recipes(), jobs=self.jobs or cores()
        )
        maker.artifacts[self.kind] = artifact
        maker.sources[self.kind] = self.source
        if part.linux or self.kind == "linux":
            for other in {"xen", "linux"} - {self.kind}:
                maker.kernel(other, maker.source(other))
            maker.rootfs()
            maker.keys()
            maker.tools()
            maker.bare()
            maker.guest()
            maker.dom0()
            for make in dict.fromkeys(COMPONENTS[name].make for name in sorted(components)):
                if make:
                    make(maker)
        else:
            maker.bare()
        built = built_of(maker.artifacts, maker.sources)
        return replace(built, lacks={}) if part.every else built

    def _inputs(self, part: Part, built: Built, summary: str) -> dict[str, str]:
        host = describe_host()
        # Linux's own images hold the kernel under test.
        images = ("dom0", "guest") if self.kind == "linux" else ()
        others = {kind: key for kind, key in built.keys.items() if kind not in (self.kind, *images)}
        return {
            "suite": f"{part.suite} {' '.join(part.guests)} {part.keyword} {part.cell}",
            "turn": str(part.turn),
            "under test": summary,
            "others": digest(json.dumps(others, sort_keys=True)),
            "tests": sha256_of(suites_dir() / SUITES[part.suite].file),
            "harness": code_of(DECIDING),
            "machine": f"{self.accelerator} {host.get('qemu', '')} {host['cpus']}",
            "known": digest(str(self.known)),
            **({"every": "yes"} if part.every else {}),
        }


def code_of(rooms: Sequence[str], *, checkout: Path = CHECKOUT) -> str:
    """Hash of the Python code of some rooms."""
    files = [file for room in rooms for file in sorted((checkout / "harness" / room).rglob("*.py"))]
    return digest("".join(f"{file.relative_to(checkout)} {sha256_of(file)}\n" for file in files))
