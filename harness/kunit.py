# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux series' own unit tests (KUnit), in a small kernel booted by QEMU with no Xen under it.

What is pure in the kernel's part of the ABI (where a port's bits are, in which
order they are looked for) needs neither hypervisor nor machine. Both widths:
``kunit64`` is an x86-64 kernel, ``kunit32`` an i386 one. They are built from
tinyconfig and the fragments in the base's ``config/kunit``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness import bare, bases, build, compiling, crashlines, ktap, linuxbuild, plan, proc
from harness.bare import BareRun
from harness.model import Accelerator, Verdict
from harness.plugin import SESSION
from harness.progress import Progress
from harness.record import ConsoleRecord, Recorder
from harness.series import prepared
from harness.store import Store, digest

SUITE = "xen-events-3l"
LAYER = "linux"
ARCH = {"kunit64": "x86_64", "kunit32": "i386"}
# Seconds. Under emulation the tests take some ten, most of them for each port by itself.
DEADLINE = 240.0
MEMORY_MIB = 256
# The machine ends with the tests: a reboot is QEMU's end, and so is one after a panic.
ARGS = f"console=ttyS0 panic=-1 reboot=t kunit_shutdown=reboot kunit.filter_glob={SUITE}"
_CASE = re.compile(r"^\+\s*KUNIT_CASE(?:_SLOW)?\((\w+)\)", re.MULTILINE)


def cases() -> list[tuple[str, str]]:
    """Kind and name of each test, as parameters for pytest: the ``KUNIT_CASE`` lines of the series."""
    patches = bases.load(bases.project_root() / bases.LINUX_BASE).patches()
    names = [name for patch in patches for name in _CASE.findall(patch.read_text())]
    return [(kind, name) for kind in plan.KUNIT_KERNELS for name in names]


def fragments(folder: Path, arch: str, *, flavour: str = build.RELEASE) -> tuple[Path, ...]:
    """Kconfig fragments of a KUnit kernel.

    Args:
        folder: the Linux base's.
        arch: Kbuild's word.
        flavour: of Linux; a release has nothing more.
    """
    config = folder / "config"
    folders = (config / "kunit", config / "kunit" / arch, config / flavour)
    return tuple(path for folder in folders for path in sorted(folder.glob("*.config")))


def build_kernel(
    kind: str,
    *,
    store: Store,
    progress: Progress,
    linux_tree: Path | None = None,
    jobs: int | None = None,
    flavour: str = build.RELEASE,
) -> Path:
    """Build a KUnit kernel, or find it in the store; gives its bzImage.

    Args:
        flavour: one of Linux adds its fragments; with any other it is a release.

    Raises:
        UserError: the configuration is not granted, or the tree does not compile.
        InfraError: no network, no space, or a program is missing.
    """
    arch = ARCH[kind]
    recipe = build.recipes(linux_tree=linux_tree, flavour=flavour)["linux"]
    source = build.source_of(recipe, store=store, progress=progress)
    wanted = fragments(recipe.base.folder, arch, flavour=recipe.flavour)

    def make(dest: Path) -> None:
        compiling.check_space(store.root, mib=linuxbuild.SPACE_MIB, what=f"building {kind}")
        with prepared(source, recipe.patches, store=store, progress=progress) as tree:
            linuxbuild.build_linux(
                tree, dest,
                fragments=wanted, jobs=jobs or compiling.cores(), progress=progress, arch=arch,
            )  # fmt: skip

    inputs = build.kernel_inputs(recipe, source, how=build.code_of(linuxbuild, compiling)) | {
        "config": digest("".join(path.read_text() for path in wanted)),
        "arch": arch,
    }
    return store.get(kind, inputs, make, progress).path / "bzImage"


def qemu_words(accelerator: str) -> list[str]:
    """QEMU's command line, without the program; its file is ``kernel`` in the current directory."""
    # The BIOS's table for those without ACPI has the first core of each socket, and no other.
    return [
        "-accel", accelerator, "-machine", "q35",
        "-cpu", "host" if accelerator == "kvm" else "qemu64",
        "-smp", "2,sockets=2", "-m", str(MEMORY_MIB),
        "-display", "none", "-monitor", "none",
        "-nodefaults", "-serial", "stdio", "-no-reboot", "-net", "none",
        "-kernel", "kernel", "-append", ARGS,
    ]  # fmt: skip


def boot(kernel: Path, *, kind: str, accelerator: Accelerator, run_dir: Path) -> BareRun:
    """Boot a KUnit kernel, until it has run its tests.

    Raises:
        InfraError: QEMU could not be started, or the disk is full.
    """
    qemu = proc.need("qemu-system-x86_64", package="qemu-system-x86")
    console = run_dir / f"console-{kind}.log"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=run_dir, prefix=".boot-") as folder:
        shutil.copyfile(kernel, Path(folder) / "kernel")
        lines, problem, late = bare.watch(
            [qemu, *qemu_words(accelerator.kind)], folder=Path(folder), console=console, deadline=DEADLINE
        )
    results, whole = read(lines)
    verdict, layer, reason = judge(lines, results, whole=whole, problem=problem, late=late)
    return BareRun(
        verdict=verdict,
        reason=reason,
        layer=layer,
        results=results,
        console=console,
        seconds=round(time.monotonic() - started, 3),
    )


def read(lines: Sequence[str]) -> tuple[ktap.Results, bool]:
    """The results of our suite, and whether the kernel has summed it up.

    KUnit nests: the suite's tests are indented below ``# Subtest: NAME``, and
    its own result comes behind them.
    """
    begin = next((i for i, line in enumerate(lines) if line.strip() == f"# Subtest: {SUITE}"), len(lines))
    total = re.compile(rf"(not )?ok \d+ {re.escape(SUITE)}$")
    end = next((i for i, line in enumerate(lines) if i > begin and total.match(line.rstrip())), None)
    # The suite's own totals are no diagnostics of a test.
    inner = [line for line in lines[begin + 1 : end] if line.startswith("    ")]
    return ktap.parse(inner), end is not None


def judge(
    lines: Sequence[str], results: ktap.Results, *, whole: bool, problem: str, late: bool
) -> tuple[Verdict, str, str]:
    """Verdict, guilty layer, and why; worst first, as a crash explains a missing result."""
    for line in lines:
        if crashlines.blame(LAYER, line) is not None:
            return Verdict.CRASH, LAYER, line.strip()
    if problem:
        return Verdict.ERROR, "qemu", problem
    got = results.problem or ("" if whole else f"there is no result of {SUITE}")
    if late:
        return Verdict.HANG, LAYER, f"the machine had not ended after {DEADLINE:.0f} s; {got or 'all came'}"
    if got:
        return Verdict.CRASH, LAYER, f"the kernel ended early: {got}"
    if failed := [case.name for case in results.cases if not case.ok]:
        return Verdict.FAIL, LAYER, f"failed: {', '.join(failed)}"
    return Verdict.PASS, "", ""


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
