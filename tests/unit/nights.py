# SPDX-License-Identifier: GPL-2.0-or-later
"""Run folders for the tests of what reads them, written by the recorder of real runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.records import Verdict
from harness.plan.cells import Cell
from harness.plan.estimates import Estimate
from harness.plan.shards import Shard
from harness.run import judge
from harness.run.planning import plan_of, write_plan
from harness.run.record import (
    AcceleratorRecord,
    ArtifactRecord,
    BootRecord,
    ConsoleRecord,
    RunRecord,
    ShardRecord,
    TestResult,
)
from harness.run.recorder import Recorder

COMMIT = "abcdef0"


def cell(name: str, *, seed: int = 1, flavour: str = "release", suite: str = "race") -> Cell:
    return Cell(
        base="xen-4.20+linux-6.12", flavour=flavour, guest="bare-pv64", abi="3l", suite=suite, test=name,
        seed=seed,
    )  # fmt: skip


def record_run(
    runs: Path,
    name: str,
    verdicts: Mapping[str, Verdict | None],
    *,
    started: str = "2026-11-01T01:00:00.000+00:00",
    state: str = "finished",
    flavour: str = "release",
    metrics: Mapping[str, dict[str, int]] | None = None,
    seconds: Mapping[str, float] | None = None,
    planned: tuple[str, ...] = (),
    deterministic: bool = False,
    consoles: Mapping[str, bytes] | None = None,
    shard: Shard | None = None,
    whole: tuple[str, ...] = (),
    keys: Mapping[str, str] | None = None,
    commit: str = COMMIT,
    qemu: str = "QEMU emulator version 7.2.22",
    **words: Any,
) -> Path:
    """Write a run folder, cell by cell as a run does.

    Args:
        runs: the folder for it.
        verdicts: of each cell by its test's name; None: it was running when the run was killed.
        planned: cells that were planned beside these.
        deterministic: each cell has a boot of its own that counts instructions.
        consoles: what the boots printed, by the test's name.
        shard: which shard it is of all cells of ``whole``.
        keys: of artifacts.
    """
    folder = runs / name
    folder.mkdir(parents=True)
    record = RunRecord(
        id=name, command=["evh", "run"], reproduce="evh run", started=started, flavour=flavour,
        host={"kernel": "6.12", "cpus": "2", "qemu": qemu}, harness={"version": "1", "commit": commit},
        accelerator=AcceleratorRecord(kind="tcg", reason="TCG: a test"), **words,
    )  # fmt: skip
    recorder = Recorder(run_dir=folder, record=record)
    recorder.save()
    cells = [(cell(test, flavour=flavour), Estimate(seconds=1)) for test in whole or (*verdicts, *planned)]
    plan = plan_of(cells, shard)
    write_plan(folder, plan)
    record.planned = len(plan.mine)
    if shard:
        record.shard = ShardRecord(number=shard.number, of=shard.count, plan=plan.id, cells=len(plan.cells))
        record.plan["shard"] = str(shard)
    kept = keys or {"xen": "a" * 32, "bare": "b" * 32}
    record.artifacts = [ArtifactRecord(name=kind, key=key, hit=True) for kind, key in kept.items()]
    for number, (test, verdict) in enumerate(verdicts.items(), 1):
        file = f"console-{number}.log"
        (folder / file).write_bytes((consoles or {}).get(test, b"(XEN) booted\n"))
        result = TestResult(
            cell=cell(test, flavour=flavour).id, test=test, suite="race", guest="bare-pv64", abi="3l",
            boot=number, reproduce=f"evh repro {test}",
        )  # fmt: skip
        record.tests.append(result)
        recorder.save()
        if verdict is None:
            break
        result.verdict = verdict
        result.reason = "" if verdict is Verdict.PASS else f"{test} went wrong"
        result.metrics = (metrics or {}).get(test, {})
        result.seconds = (seconds or {}).get(test, 1.0)
        record.consoles.append(ConsoleRecord(layer=file, file=file, bytes=1))
        record.boots.append(
            BootRecord(
                number=number, kind="bare-pv64", args=f"suite=race test={test}", seed=1, vcpus=2,
                deterministic=deterministic, memory_mib=1024, xen_args="", verdict=Verdict.PASS, reason="",
                seconds=0.5, console=file,
            )
        )  # fmt: skip
        recorder.save()
    record.state = state
    if state == "finished":
        record.verdict = judge.judge_run(test.verdict or Verdict.ERROR for test in record.tests)
        record.exit_code = judge.EXIT_CODES[record.verdict]
    record.ended = started
    recorder.close()
    return folder
