# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh repro`: run one cell of an earlier run again, on the same build.

The artifacts come out of the store by the keys in run.json, so the hypervisor
under test is identical. Missing artifacts are rebuilt from this tree, and
those that differ are listed. The console of a deterministic cell is then
compared with the recorded one, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.build.built import recorded
from harness.build.components import components_in
from harness.build.graph import build
from harness.core.errors import UserError
from harness.core.records import Built, Source, Verdict
from harness.dev import gdb
from harness.history.same import differences, keys_of
from harness.monitor.knownissues import KnownIssue
from harness.plan.flavours import RELEASE
from harness.plan.guests import KUNIT_KERNELS
from harness.plan.selection import select
from harness.plan.suites import XTF
from harness.run import judge
from harness.run.backends import Backends, real_backends
from harness.run.folder import run_folder
from harness.run.record import RUN_JSON, BootRecord, RunRecord, TestResult, boot_of, load
from harness.run.recorder import Recorder
from harness.run.request import RunRequest, trees_of
from harness.run.run import describe_harness, run
from harness.store.artifacts import Artifact, Store

if TYPE_CHECKING:
    from harness.core.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A cell and the run that recorded it."""

    folder: Path
    record: RunRecord
    test: TestResult

    @property
    def boot(self) -> BootRecord | None:
        """The bare guest's boot that the test used."""
        return boot_of(self.record, self.test)


def find(cell: str, *, where: Path | None, runs: Path = Path("runs")) -> Earlier | None:
    """The newest run with a finished test of this cell; None if there is none.

    Args:
        where: a run folder; None: search all run folders in ``runs``.

    Raises:
        UserError: ``where`` is not a run, or does not have that cell.
    """
    folders = [where] if where else [path.parent for path in runs.glob(f"*/{RUN_JSON}")]
    found: list[Earlier | None] = []
    for folder in folders:
        try:
            path, record = load(folder)
        except UserError:
            if where:
                raise
            continue  # incomplete after a full disk, or from another version
        if record.parts:  # a merged run: its parts say what was built, and with which options
            for part in record.parts:
                with suppress(UserError):  # the part was removed
                    found.append(_in(*load(path / part.folder), cell))
            continue
        found.append(_in(path, record, cell))
    if where and not any(found):
        raise UserError(f"{where} has no cell {cell}", hint="Its run.json and its report list its cells.")
    return max(filter(None, found), key=lambda earlier: earlier.record.started, default=None)


def _in(folder: Path, record: RunRecord, cell: str) -> Earlier | None:
    """The last finished test of a cell in a run; None if there is none."""
    tests = [test for test in record.tests if test.cell == cell and test.verdict is not None]
    return Earlier(folder=folder, record=record, test=tests[-1]) if tests else None


def request_of(cell: str, earlier: Earlier | None) -> RunRequest:
    """A request for one cell, with the options of the earlier run.

    Raises:
        UserError: ``cell`` is not a cell id, or its file is missing.
    """
    record = earlier.record if earlier else None
    files = record.plan.get("files", "") if record else ""
    abis = record.plan.get("abi", "") if record else ""
    options = record.options if record else {}
    return RunRequest(
        selection=select(
            cell=cell,
            files=files.split(",") if files else (),
            # They decide which ABI dom0 has where the test leaves it open.
            abis=abis.split(",") if abis else (),
            minutes=float(options.get("minutes", 0)),
            xtf=Path(options["xtf"]) if "xtf" in options and f"/{XTF}::" in cell else None,
        ),
        accelerator=options.get("accel", "auto"),
        uri=options.get("connect"),
        trees=trees_of(options),
        xen_args=options.get("xen_args", ""),
        dom0_args=options.get("dom0_args", ""),
        known=known_of(record) if record else (),
        snapshots=options.get("snapshots") == "yes",
        command=("evh", "repro", cell),
    )


def known_of(record: RunRecord) -> tuple[KnownIssue, ...]:
    """The known issues that a run passed over."""
    return tuple(
        KnownIssue(
            layer=issue.layer, pattern=issue.pattern, why=issue.why, until=issue.until, link=issue.link
        )
        for issue in record.known_issues
    )


# Artifacts that a run builds one by one, beside what ``build`` makes.
ON_THEIR_OWN = (XTF, *KUNIT_KERNELS)


def same_inputs(
    earlier: Earlier, *, say: Callable[[str], None]
) -> Callable[[RunRequest, Progress, frozenset[str]], Built]:
    """A build function that returns the artifacts of ``earlier``, or builds and reports which ones differ."""

    def get(request: RunRequest, progress: Progress, components: frozenset[str]) -> Built:
        before = {kind: key for kind, key in keys_of(earlier.record).items() if kind not in ON_THEIR_OWN}
        sources = {
            s.name: Source(name=s.name, version=s.version, origin=s.origin, sha256=s.sha256, note=s.note)
            for s in earlier.record.sources
        }
        found = recorded(before, sources, store=Store(), progress=progress)
        if found is not None and components <= components_in(before):
            say(f"using the artifacts of {earlier.folder.name} from the store")
            return found
        built = build(
            store=Store(), progress=progress, trees=request.trees,
            flavour=request.selection.flavour or RELEASE, components=components,
        )  # fmt: skip
        other = sorted(kind for kind, key in built.keys.items() if before.get(kind, key) != key)
        name = earlier.folder.name
        if other:
            differ = ", ".join(other)
            say(f"artifacts of {name} are gone from the store; rebuilt ones that differ: {differ}")
        else:
            say(f"rebuilt the artifacts of {name}: they are the same")
        return built

    return get


def same_artifact(
    earlier: Earlier, kind: str, make: Callable[[], Artifact], *, progress: Progress
) -> Artifact:
    """The artifact of that kind that ``earlier`` used, or one made now, with a word on whether it differs."""
    name, key = earlier.folder.name, keys_of(earlier.record).get(kind)
    if key is None:
        progress.say(f"{name} did not record its {kind}: this one is built from what is there now")
        return make()
    if found := Store().find(kind, key, progress):
        progress.say(f"using the {kind} of {name} from the store")
        return found
    made = make()
    same = "it is the same" if made.key == key else "the rebuilt one differs"
    progress.say(f"the {kind} of {name} is gone from the store; {same}")
    return made


def same_builds(earlier: Earlier, backends: Backends, *, progress: Progress) -> Backends:
    """Backends whose builds return the artifacts of ``earlier`` where the store has them."""
    return replace(
        backends,
        build=same_inputs(earlier, say=progress.say),
        xtf=lambda request, progress: same_artifact(
            earlier, XTF, lambda: backends.xtf(request, progress), progress=progress
        ),
        kunit=lambda request, progress, kind: same_artifact(
            earlier, kind, lambda: backends.kunit(request, progress, kind), progress=progress
        ),
    )


def compare(earlier: Earlier, folder: Path, record: RunRecord) -> tuple[bool, str]:
    """Compare a repeated cell's console with the recorded one.

    Returns:
        False if they had to be identical and are not, and a message.
    """
    before = earlier.boot
    after = boot_of(record, record.tests[0]) if record.tests else None
    if before is None or after is None:
        return True, "this cell uses no bare guest: its console was not compared"
    if not before.deterministic:
        return True, "this cell is not deterministic: its console was not compared"
    old, new = keys_of(earlier.record), keys_of(record)
    if other := [kind for kind in ("xen", "bare") if old.get(kind) != new.get(kind)]:
        return True, f"the builds of {' and '.join(other)} differ: the consoles were not compared"
    if (before.args, before.xen_args, before.vcpus) != (after.args, after.xen_args, after.vcpus):
        return True, f"the test's boot arguments changed ({after.args!r}): the consoles were not compared"
    path = earlier.folder / before.console
    try:
        said = path.read_bytes()
    except OSError as error:
        return True, f"the recorded console cannot be read ({error.strerror}): the consoles were not compared"
    cut = Verdict.HANG in (before.verdict, after.verdict)
    if where := differences(said, (folder / after.console).read_bytes(), cut=cut):
        return False, f"the console DIFFERS from {path}: {where}"
    return True, f"the console is bit-identical with {path}"


def repro(
    cell: str,
    *,
    where: Path | None = None,
    progress: Progress,
    backends: Backends | None = None,
) -> tuple[Path, RunRecord]:
    """Run one cell again and compare it with the earlier run.

    Returns:
        As ``run.run``; the comparison is in the record's notes. If a
        deterministic console differs, the verdict is ``error``.

    Raises:
        UserError: there is no such run or cell.
    """
    earlier = find(cell, where=where)
    request = request_of(cell, earlier)
    backends = backends or real_backends()
    if earlier is None:
        progress.say("no run under ./runs has this cell: running it with this tree's build")
    else:
        progress.say(f"repeating {cell} of {earlier.folder.name}, whose verdict was: {earlier.test.verdict}")
        here = describe_harness().get("commit", "")
        if (then := earlier.record.harness.get("commit", "")) and then != here:
            progress.say(f"it used the harness and tests of commit {then}, now: {here or 'no commit'}")
        backends = same_builds(earlier, backends, progress=progress)
    folder, record = run(request, progress=progress, backends=backends)
    if earlier is not None and record.state == "finished":
        same, said = compare(earlier, folder, record)
        record.notes.append(said)
        progress.say(said)
        if not same:
            record.verdict, record.exit_code = Verdict.ERROR, judge.EXIT_CODES[Verdict.ERROR]
        Recorder(run_dir=folder, record=record, ended=True).save()
    return folder, record


def repro_in_gdb(
    cell: str, *, where: Path | None = None, progress: Progress, commands: Sequence[str] = ()
) -> int:
    """Run gdb on the bare guest's boot that a cell used.

    Returns:
        gdb's exit code.

    Raises:
        UserError: no run has the cell, or the cell uses no bare guest.
    """
    earlier = find(cell, where=where)
    if earlier is None:
        raise UserError(
            f"no run under ./runs has the cell {cell}",
            hint=f"Run it first (evh run --cell '{cell}'), or name the run's folder with --run.",
        )
    boot = earlier.boot
    if boot is None:
        raise UserError(
            f"{cell} boots no bare guest, and no other boot can be repeated exactly",
            hint="To debug a machine with Linux: evh run --keep, then evh shell.",
        )
    if not boot.deterministic:
        progress.say("this cell was not deterministic: gdb runs a deterministic boot of the same test")
    place = earlier.folder / f"gdb-{len(list(earlier.folder.glob('gdb-*'))) + 1}"
    with Store().in_use(say=progress.say), run_folder(place) as folder:
        built = same_inputs(earlier, say=progress.say)(request_of(cell, earlier), progress, frozenset())
        progress.say(f"gdb in {folder}")
        try:
            done = gdb.debug(boot, built=built, folder=folder, commands=commands, say=progress.say)
        finally:
            gdb.clear(folder)
    same_xen = keys_of(earlier.record).get("xen") == built.keys.get("xen")
    if done.recorded is not None and boot.deterministic and same_xen:
        where_not = differences((earlier.folder / boot.console).read_bytes(), done.recorded.read_bytes())
        progress.say(
            f"the recording DIFFERS from the run: {where_not}"
            if where_not
            else "the recording's console is bit-identical with the run's"
        )
    return done.code
