# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugin for the suite ``xtf``: lists XTF's tests as cells, and provides the fixture ``xtf``.

Each test is booted on the Xen under test, and on the base: the same Xen
without the series. What the base did is kept in the store, so it is booted
there once.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.build.xtf import list_of_tests
from harness.core.errors import EvhError, InfraError, UserError
from harness.core.progress import Progress
from harness.core.records import XEN_BASE, Accelerator, Built, Verdict, xen_of
from harness.core.text import tail
from harness.machine.direct import Watched
from harness.machine.xtf import DEADLINE, Outcome, Result, boot, qemu_words, read
from harness.monitor.knownissues import KnownIssues
from harness.plan.xtf import CATEGORIES, XtfTest
from harness.run.baseline import Against, Comparison, best, compare
from harness.run.record import ArtifactRecord, ConsoleRecord
from harness.run.recorder import Recorder
from harness.run.session import EVIDENCE_LINES, running_of
from harness.store.artifacts import Artifact, Store

KIND = "xtf-baseline"
# Boots of a test on the base that is no success there: only what happens in each of them excuses anything.
BOOTS = 2


class WorseThanBase(EvhError):
    """An XTF test did worse than on the base; ``verdict`` and ``layer`` say how."""

    def __init__(self, compared: Comparison, console: Path) -> None:
        super().__init__(compared.reason, hint=f"see its console: {console}")
        self.verdict = compared.verdict
        self.layer = compared.layer


class XtfCells:
    """The pytest plugin object with the fixture ``xtf``.

    Args:
        store: keeps what the base did.
        known: crashes to pass over, here and on the base.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        progress: Progress,
        store: Store,
        known: KnownIssues,
    ) -> None:
        self._recorder = recorder
        self._progress = progress
        self._store = store
        self._known = known
        self._kernels: Artifact | None = None
        self._built: Built | None = None
        self._accelerator: Accelerator | None = None
        self._tests: dict[str, XtfTest] = {}
        self._seen: Counter[tuple[Against, Result]] = Counter()

    def found(self, kernels: Artifact) -> None:
        """Take the built tests; this determines which cells there are."""
        self._kernels = kernels
        self._tests = {test.name: test for test in list_of_tests(kernels.path)}
        self._recorder.record.artifacts.append(
            ArtifactRecord(name="xtf", key=kernels.key, hit=kernels.hit)
        )

    def prepare(self, built: Built, accelerator: Accelerator) -> None:
        """Take the hypervisors to boot, and the accelerator of all boots, proven."""
        self._built = built
        self._accelerator = accelerator

    @pytest.hookimpl
    def pytest_configure(self, config: pytest.Config) -> None:
        """Register XTF's categories as markers, so that ``-k "functional or xsa"`` selects by them."""
        for name in CATEGORIES:
            config.addinivalue_line("markers", f"{name}: XTF's tests of this category")

    @pytest.hookimpl
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize ``xtf_test`` with XTF's tests."""
        if "xtf_test" in metafunc.fixturenames:
            params = [
                pytest.param(test.name, marks=getattr(pytest.mark, test.category))
                for test in self._tests.values()
            ]
            metafunc.parametrize("xtf_test", params)

    @pytest.fixture
    def xtf(self, request: pytest.FixtureRequest) -> Callable[[str], None]:
        """Boot an XTF test by its name, on this Xen and on the base; the test is red if it is worse here."""

        def run(name: str) -> None:
            running = running_of(request)
            result = running.result
            test = self._tests[name]
            console = self._recorder.run_dir / f"console-xtf-{name}.log"
            ours = self._ours(test, console)
            base = self._base(test)
            compared = compare(ours, base)
            self._seen[compared.against, ours.result] += 1
            result.baseline = best(base).text
            if compared.against is Against.AS_GOOD:
                return
            result.evidence = tail(console, lines=EVIDENCE_LINES)
            reason = compared.reason
            if test.unmet:
                reason += f" (it asks for {', '.join(test.unmet)}, which a dom0 cannot have)"
            if compared.verdict is Verdict.PASS:
                running.remark = reason
            elif compared.verdict is Verdict.SKIP:
                pytest.skip(reason)
            else:
                raise WorseThanBase(compared, console)

        return run

    def _boot(self, test: XtfTest, xen: Path, console: Path) -> Watched:
        assert self._kernels is not None and self._accelerator is not None, "tests run after the build"
        return boot(
            test,
            kernels=self._kernels.path,
            xen=xen,
            accelerator=self._accelerator,
            console=console,
        )

    def _ours(self, test: XtfTest, console: Path) -> Outcome:
        assert self._built is not None, "tests run after the build"
        done = self._boot(test, self._built.xen, console)
        self._note(console, f"xtf-{test.name}", time_scale=done.time_scale)
        return read(done.lines, late=done.late, problem=done.problem, known=self._known)

    def _base(self, test: XtfTest) -> list[Outcome]:
        """What the base did, from the store or from boots made now; copies its console unless it succeeded.

        Raises:
            InfraError: QEMU failed. Nothing is stored, so the next run tries again.
        """
        assert self._built is not None
        xen = xen_of(self._built, XEN_BASE)

        def make(dest: Path) -> None:
            for number in range(1, BOOTS + 1):
                console = dest / f"console-{number}.log"
                done = self._boot(test, xen, console)
                console.with_suffix(".json").write_text(
                    json.dumps({"late": done.late, "time_scale": done.time_scale})
                )
                if read(done.lines, late=done.late, problem=done.problem).result is Result.SUCCESS:
                    break

        title = f"boot {test.name} on the base"
        with self._recorder.doing(title), self._progress.step(title, announce_end=False):
            kept = self._store.get(KIND, self._inputs(test), make, self._progress, announce=False)
        boots = []
        for console in sorted(kept.path.glob("console-*.log")):
            ended = json.loads(console.with_suffix(".json").read_text())
            said = console.read_text(errors="replace").splitlines()
            # A copy, because what is passed over on the base does not count as seen in this run.
            boots.append(read(said, late=ended["late"], known=KnownIssues(self._known.entries)))
            if console.name == "console-1.log" and boots[0].result is not Result.SUCCESS:
                copy = self._recorder.run_dir / f"console-xtf-{test.name}-base.log"
                shutil.copyfile(console, copy)
                self._note(copy, f"xtf-{test.name} on the base", time_scale=ended["time_scale"])
        if kept.hit and best(boots).result is Result.HANG:
            # A hang that is kept may have been the host's, of that day, and would excuse one of this Xen.
            boots.append(self._base_today(test, xen))
        return boots

    def _base_today(self, test: XtfTest, xen: Path) -> Outcome:
        """What the base does now, whatever the store says."""
        console = self._recorder.run_dir / f"console-xtf-{test.name}-base-today.log"
        done = self._boot(test, xen, console)
        self._note(console, f"xtf-{test.name} on the base, today", time_scale=done.time_scale)
        return read(done.lines, late=done.late, problem=done.problem, known=KnownIssues(self._known.entries))

    def _inputs(self, test: XtfTest) -> dict[str, str]:
        """What a test's outcome on the base depends on."""
        assert self._kernels is not None and self._built is not None and self._accelerator is not None
        kind = self._accelerator.kind
        return {
            "xen": self._built.keys[XEN_BASE],
            "test": test.name,
            "kernel": self._kernels.files[test.kernel],
            "machine": " ".join(qemu_words(test, kind)),
            "deadline": f"{DEADLINE:.0f}",
            "qemu": self._recorder.record.host.get("qemu", ""),
            "cpu": host_cpu() if kind == "kvm" else "",
        }

    def _note(self, console: Path, layer: str, *, time_scale: float) -> None:
        self._recorder.record.consoles.append(
            ConsoleRecord(
                layer=layer, file=console.name, bytes=console.stat().st_size, time_scale=time_scale
            )
        )

    def check_selected(self, planned: tuple[str, ...]) -> None:
        """Check that the selection has a cell of XTF.

        Raises:
            UserError: it has none, so a run of other suites would be green without XTF.
        """
        if self._kernels is not None and not any("/xtf::" in cell for cell in planned):
            raise UserError(
                f"--xtf: none of its {len(self._tests)} tests is selected",
                hint="-k, --guest and --abi apply to them too; they count as cells of dom0 and 2l.",
            )

    def close(self) -> None:
        """Note in the record how many tests did as on the base."""
        if not self._seen or self._built is None:
            return
        source = self._built.sources.get(XEN_BASE) or self._built.sources["xen"]
        counts = "; ".join(filter(None, map(self._counted, Against)))
        self._recorder.record.notes.append(
            f"xtf: {counts} (the base: Xen {source.version} without the series)"
        )

    def _counted(self, against: Against) -> str:
        """E.g. ``3 as on the base: 2 skip, 1 failure``; empty for none."""
        counts = {result: n for result in Result if (n := self._seen[against, result])}
        of_each = ", ".join(f"{n} {result}" for result, n in counts.items())
        return f"{sum(counts.values())} {against}: {of_each}" if counts else ""


def host_cpu() -> str:
    """The host's processor, as KVM passes it on: model, features and known bugs.

    Raises:
        InfraError: /proc/cpuinfo cannot be read.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError as e:
        raise InfraError(f"cannot read /proc/cpuinfo: {e.strerror}") from e
    wanted = ("model name", "microcode", "flags", "bugs")
    return "; ".join(line for line in lines if line.startswith(wanted))
