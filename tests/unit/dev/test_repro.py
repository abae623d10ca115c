# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh repro`: choice of the run, its options, comparison of the consoles."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import fake_backends

from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.core.records import Trees, Verdict
from harness.dev import repro
from harness.plan.cells import EXAMPLE_CELL, Cell
from harness.plan.selection import select
from harness.run.backends import Backends
from harness.run.record import ArtifactRecord, BootRecord, RunRecord, TestResult
from harness.run.recorder import Recorder
from harness.run.request import RunRequest
from harness.store.artifacts import Artifact, Store

CELL = Cell(base="b", flavour="debug", guest="bare-pv64", abi="3l", suite="smoke", test="t", seed=3)
BOOT = BootRecord(
    number=1,
    kind="bare-pvh64",
    args="seed=3 domu=bare-pvh64",
    seed=3,
    deterministic=True,
    vcpus=2,
    memory_mib=1024,
    xen_args="",
    verdict=Verdict.FAIL,
    reason="",
    seconds=3.0,
    console="console-a.log",
)


def run_in(folder: Path, *, started: str, console: str = "one\ntwo\n", **words: object) -> repro.Earlier:
    folder.mkdir(parents=True)
    (folder / BOOT.console).write_text(console)
    test = TestResult(
        cell=CELL.id, test="t", suite="smoke", guest="bare-pv64", abi="3l", verdict=Verdict.FAIL, boot=1
    )
    fields = {
        "tests": [test],
        "boots": [BOOT],
        "artifacts": [ArtifactRecord(name="xen", key="x"), ArtifactRecord(name="bare", key="b")],
        "state": "finished",
    }
    record = RunRecord(
        id=folder.name, command=["evh"], reproduce="evh", started=started, **(fields | words)
    )  # type: ignore[arg-type]
    Recorder(run_dir=folder, record=record).save()
    return repro.Earlier(folder=folder, record=record, test=test)


def test_the_newest_run_that_has_the_cell(tmp_path: Path) -> None:
    run_in(tmp_path / "b", started="2026-01-01T00:00:02+00:00")
    run_in(tmp_path / "a", started="2026-01-01T00:00:09+00:00")
    run_in(tmp_path / "c", started="2026-01-01T00:00:11+00:00", tests=[])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    found = repro.find(CELL.id, where=None, runs=tmp_path)
    assert found is not None and found.folder.name == "a"
    assert repro.find(EXAMPLE_CELL.id, where=None, runs=tmp_path) is None
    with pytest.raises(UserError):
        repro.find(EXAMPLE_CELL.id, where=tmp_path / "a")


def test_request_has_the_options_of_the_earlier_run(tmp_path: Path) -> None:
    file = tmp_path / "smoke.py"
    file.touch()
    words = {"options": {"accel": "kvm", "xen_tree": "/x", "xen_args": "a b"}, "plan": {"files": str(file)}}
    earlier = run_in(tmp_path / "a", started="2026-01-01T00:00:02+00:00", **words)
    request = repro.request_of(CELL.id, earlier)
    assert (request.accelerator, request.trees) == ("kvm", Trees(xen_tree=Path("/x")))
    assert request.xen_args == "a b"
    assert request.selection.cell == CELL
    assert (request.selection.files, request.selection.flavour) == ((str(file),), "debug")


@pytest.mark.parametrize(("one", "two"), [(b"\xff", b"\xfe"), (b"a\r\n", b"a\n"), (b"\x0ba", b"\na")])
def test_bytes_that_read_alike_are_a_difference(tmp_path: Path, one: bytes, two: bytes) -> None:
    earlier = run_in(tmp_path / "a", started="2026-01-01T00:00:02+00:00")
    again = run_in(tmp_path / "b", started="2026-01-01T00:00:03+00:00")
    for run, said in ((earlier, one), (again, two)):
        (run.folder / BOOT.console).write_bytes(b"first\n" + said)
    same, told = repro.compare(earlier, again.folder, again.record)
    assert not same and "DIFFERS" in told
    (again.folder / BOOT.console).write_bytes(b"first\n" + one)
    assert repro.compare(earlier, again.folder, again.record)[0]


@pytest.mark.parametrize(
    ("words", "console", "same", "said"),
    [
        ({}, "one\ntwo\n", True, "bit-identical"),
        ({}, "one\n2\n", False, "DIFFERS"),
        ({"artifacts": [ArtifactRecord(name="xen", key="y")]}, "2\n", True, "builds of xen and bare differ"),
        ({"boots": []}, "2\n", True, "no bare guest"),
    ],
)
def test_comparison(
    tmp_path: Path, words: dict[str, object], console: str, same: bool, said: str
) -> None:
    earlier = run_in(tmp_path / "a", started="2026-01-01T00:00:02+00:00")
    again = run_in(tmp_path / "b", started="2026-01-01T00:00:03+00:00", console=console, **words)
    got = repro.compare(earlier, again.folder, again.record)
    assert got[0] is same and said in got[1]


def test_nondeterministic_cells_are_not_compared(tmp_path: Path) -> None:
    import msgspec

    boots = [msgspec.structs.replace(BOOT, deterministic=False)]
    earlier = run_in(tmp_path / "a", started="2026-01-01T00:00:02+00:00", boots=boots)
    again = run_in(tmp_path / "b", started="2026-01-01T00:00:03+00:00", console="2\n", boots=boots)
    assert repro.compare(earlier, again.folder, again.record)[0] is True


def test_gdb_wants_a_bare_guest(tmp_path: Path) -> None:
    run_in(tmp_path / "a", started="2026-01-01T00:00:02+00:00", boots=[])
    with pytest.raises(UserError, match="no bare guest"):
        repro.repro_in_gdb(CELL.id, where=tmp_path / "a", progress=None)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Store()


def made(store: Store, kind: str, content: str) -> Artifact:
    return store.get(kind, {"content": content}, lambda dest: None, Progress(io.StringIO()))


def asked(backends: Backends, kind: str, progress: Progress) -> Artifact:
    request = RunRequest(selection=select(suites=["kunit"]))
    if kind == "xtf":
        return backends.xtf(request, progress)
    return backends.kunit(request, progress, kind)


@pytest.mark.parametrize("kind", ["xtf", "kunit64", "kunit32"])
def test_same_xtf_and_kunit_kernels_as_in_the_earlier_run(tmp_path: Path, store: Store, kind: str) -> None:
    before, now = made(store, kind, "before"), made(store, kind, "now")
    out = io.StringIO()
    progress = Progress(out)
    backends = replace(
        fake_backends([]), xtf=lambda request, progress: now, kunit=lambda request, progress, kind: now
    )

    def again(name: str, *keys: str) -> Artifact:
        artifacts = [ArtifactRecord(name=kind, key=key) for key in keys]
        earlier = run_in(tmp_path / name, started="2026-01-01T00:00:02+00:00", artifacts=artifacts)
        return asked(repro.same_builds(earlier, backends, progress=progress), kind, progress)

    assert again("a", before.key).key == before.key, "from the store, not built from what is there now"
    assert again("b").key == now.key
    assert f"b did not record its {kind}" in out.getvalue()
    shutil.rmtree(before.path)
    assert again("c", before.key).key == now.key
    assert f"the {kind} of c is gone from the store; the rebuilt one differs" in out.getvalue()


def test_builds_are_found_though_the_xtf_of_the_run_is_gone(tmp_path: Path, store: Store) -> None:
    keys = {kind: made(store, kind, "before").key for kind in ("xen", "bare")}
    artifacts = [ArtifactRecord(name=name, key=key) for name, key in (keys | {"xtf": "gone"}).items()]
    earlier = run_in(tmp_path / "a", started="2026-01-01T00:00:02+00:00", artifacts=artifacts)
    said: list[str] = []
    request = RunRequest(selection=select(suites=["kunit"]))
    built = repro.same_inputs(earlier, say=said.append)(request, Progress(io.StringIO()), frozenset())
    assert built.keys == keys
    assert said == ["using the artifacts of a from the store"]
