# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh run --workers`: the cells of one run side by side; each worker is a process with a run of its own.

The plan is cut into one shard for each worker, and one more for the cells that measure time, which runs
alone after the others. The parts are merged, as `evh merge` does. A worker that dies takes its own cells
along, and the merged run names them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.core.errors import EvhError
from harness.core.signals import Interrupted
from harness.fleet.fitting import cut_for_workers
from harness.history.merge import merge
from harness.run.planning import PLAN_JSON, Plan, write_plan
from harness.run.record import RUN_JSON, ErrorRecord, RunRecord
from harness.run.recorder import Recorder

if TYPE_CHECKING:
    from harness.core.progress import Progress

EVH = (sys.executable, "-m", "harness")
# Seconds in which a worker that was told to end tears its machine down.
END = 60
_STAMP = re.compile(r"^\[ *[\d.]+s\] ")


@dataclass
class Worker:
    """One process, and its last lines, for when it dies before it has a run folder."""

    number: int
    folder: Path
    process: subprocess.Popen[str]
    reader: threading.Thread | None = None
    said: list[str] = field(default_factory=list)


class Workers:
    """Starts workers and waits for them; none is left behind.

    Args:
        words: the options of `evh run` that make the selection.
        work: folder for the plan and the workers' run folders.
        program: evh.
    """

    def __init__(
        self, words: Sequence[str], *, work: Path, count: int, progress: Progress, program: Sequence[str]
    ) -> None:
        self.all: list[Worker] = []
        self._program = program
        self._words, self._work, self._count, self._progress = words, work, count, progress

    def run(self, numbers: Sequence[int]) -> None:
        """Run these shards at the same time, and wait until all have ended."""
        group = [self._start(number) for number in numbers]
        for worker in group:
            worker.process.wait()
        self._join(group)

    def end(self) -> None:
        """End those that still run."""
        alive = [worker for worker in self.all if worker.process.poll() is None]
        for worker in alive:
            worker.process.terminate()
        for worker in alive:
            try:
                worker.process.wait(END)
            except subprocess.TimeoutExpired:
                worker.process.kill()  # its reaper ends its QEMU
                worker.process.wait()
        self._join(self.all)

    def _start(self, number: int) -> Worker:
        folder = self._work / f"worker-{number}"
        command = [
            *self._program, "run", *self._words, "--plan", str(self._work / PLAN_JSON),
            "--shard", f"{number}/{self._count}", "--run-dir", str(folder),
        ]  # fmt: skip
        # A session of its own: Ctrl-C is for this process, which then ends the workers.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        worker = Worker(number=number, folder=folder, process=process)
        self.all.append(worker)
        worker.reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.reader.start()
        return worker

    def _read(self, worker: Worker) -> None:
        """Show what a worker says, line by line, with its number."""
        assert worker.process.stderr is not None
        for line in worker.process.stderr:
            text = _STAMP.sub("", line.rstrip("\n"))
            worker.said = [*worker.said[-9:], text]
            self._progress.say(f"{worker.number}: {text}")

    def _join(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            if worker.reader is not None:
                worker.reader.join(END)


def run_side_by_side(
    words: Sequence[str],
    plan: Plan,
    *,
    workers: int,
    run_dir: Path | None,
    command: Sequence[str],
    reproduce: str,
    progress: Progress,
    program: Sequence[str] = EVH,
) -> tuple[Path, RunRecord]:
    """Run a plan by several workers, and merge what they did.

    Args:
        words: the options of `evh run` that make this selection.
        plan: of all cells, not cut.
        run_dir: of the merged run; None: a new one under ``./runs``.
        command, reproduce: for the merged run's record.
        program: evh; unit tests pass one that boots nothing.

    Returns:
        As ``run.run``. After a signal the record's state is ``interrupted``.

    Raises:
        EvhError: a worker ended before it had a run folder.
        Interrupted: by a signal, before any worker had one.
    """
    cut = cut_for_workers(plan, workers)
    # Beside the run folder, so that the parts are linked into it and not copied.
    place = run_dir.parent if run_dir else Path("runs")
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".workers-", dir=place) as temporary:
        work = Path(temporary).resolve()
        write_plan(work, cut)
        used = sorted({one.shard for one in cut.cells})
        fleet = Workers(words, work=work, count=cut.of, progress=progress, program=program)
        interrupted: Interrupted | None = None
        try:
            for group in ([n for n in used if n <= workers], [n for n in used if n > workers]):
                if group:
                    fleet.run(group)
        except Interrupted as signal:
            interrupted = signal
        finally:
            fleet.end()
        folders = [worker.folder for worker in fleet.all if (worker.folder / RUN_JSON).is_file()]
        _without_a_run([worker for worker in fleet.all if worker.folder not in folders], interrupted)
        folder, record = merge(folders, plans={work / PLAN_JSON: cut}, run_dir=run_dir)
    order = {one.cell: at for at, one in enumerate(plan.cells)}
    record.tests.sort(key=lambda test: order.get(test.cell, len(order)))
    record.command, record.reproduce = list(command), reproduce
    if interrupted is not None:
        record.state, record.exit_code = "interrupted", 128 + interrupted.number
        record.error = ErrorRecord(kind="interrupted", message=str(interrupted))
    Recorder(run_dir=folder, record=record, ended=True).save()
    return folder, record


def _without_a_run(dead: Sequence[Worker], interrupted: Interrupted | None) -> None:
    """Raise if a worker ended before it had a run folder: its cells are in no part."""
    if dead and interrupted is not None:
        raise interrupted
    if dead:
        code, said = dead[0].process.returncode, " ".join(dead[0].said[-3:])
        raise EvhError(
            f"worker {dead[0].number} ended with exit code {code} before its run began: {said}",
            hint="--workers 1 runs all cells one after the other.",
        )
