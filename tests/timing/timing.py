# SPDX-License-Identifier: GPL-2.0-or-later
"""`make timing BASE=COMMIT ROWS="machine run"`: how long things take, beside an older commit, on this host.

Both commits get a checkout and a virtual environment of their own. Of each row the base
and the head are measured in turn, three times, so that a noisy hour meets both. The
figures go into tests/timing/results.json, row by row, and docs/timing.md is written
from that file: a row that was not measured is not on the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rows import ROWS, Checkout, Failed, Row

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
RESULTS = HERE / "results.json"
PAGE = PROJECT / "docs" / "timing.md"
ROUNDS = 3
SIDES = ("base", "head")

Results = dict[str, dict[str, Any]]


def measured(
    row: Row, checkouts: Mapping[str, Checkout], *, rounds: int, say: Callable[[str], object] = print
) -> dict[str, list[float]]:
    """The figures of a row, by side: each round measures one after the other.

    Raises: Failed: a command failed. A row has all of its figures, or none.
    """
    for side in SIDES:
        row.prepare(checkouts[side])
    figures: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        # Turn about: neither is always the one after the other's work.
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            figures[side].append(round(row.measure(checkouts[side]), 3))
            say(f"  round {number + 1}, {side}: {figures[side][-1]:.2f} {row.unit}")
    return figures


def host() -> dict[str, str]:
    """This host, as the page tells it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    said = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=False)
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:,} MiB",
        "kernel": platform.release(),
        "qemu": said.stdout.splitlines()[0].removeprefix("QEMU emulator version ") if said.stdout else "none",
    }


def load_now() -> str:
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def page(results: Results, rows: Mapping[str, Row]) -> str:
    """docs/timing.md: every row that was measured, in the order of ``rows``."""
    lines = [
        "# How long things take",
        "",
        'Written by `make timing BASE=COMMIT ROWS="..."` (tests/timing), which measures a commit and the',
        "newest one in turn on one host. Figures are medians of the rounds, with the least and the most; the",
        "ratio is that of the medians. Rows that were not measured are not here.",
        "",
        "| what | base | head | ratio | goal | rounds | row |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {name: results[name] for name in rows if name in results}
    for name, result in found.items():
        row = rows[name]
        base, head = (statistics.median(result["figures"][side]) for side in SIDES)
        ratio = head / base
        met = (head if row.absolute else ratio) <= row.goal
        goal = f"{row.goal:g} {row.unit}" if row.absolute else f"{row.goal:.2f}"
        lines.append(
            f"| {row.what} | {_spread(result['figures']['base'], row.unit)}"
            f" | {_spread(result['figures']['head'], row.unit)} | {ratio:.2f}"
            f" | {goal}{'' if met else ', missed'} | {len(result['figures']['base'])} | `{name}` |"
        )
    lines += ["", "When, where and of what each row was measured:", ""]
    for name, result in found.items():
        where = result["host"]
        lines.append(
            f"* `{name}`: {result['when']}, base {result['base'][:10]}, head {result['head'][:10]};"
            f" {where['cores']} cores, {where['memory']}, Linux {where['kernel']}, QEMU {where['qemu']};"
            f" load before {result['load'][0]}, after {result['load'][1]}"
        )
    return "\n".join(lines) + "\n"


def _spread(figures: Sequence[float], unit: str) -> str:
    digits = 0 if unit == "MiB" else 2 if max(figures) < 10 else 1
    median, least, most = statistics.median(figures), min(figures), max(figures)
    return f"{median:,.{digits}f} {unit} ({least:,.{digits}f} to {most:,.{digits}f})"


# Checkouts.


def git(*words: str | Path, folder: Path = PROJECT) -> str:
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"git {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout.strip()


def checkout(commit: str, folder: Path) -> Checkout:
    """A work tree of a commit with its own virtual environment."""
    tree, work = folder / "tree", folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    if tree.is_dir():
        git("checkout", "--quiet", "--detach", commit, folder=tree)
    else:
        git("worktree", "prune")
        git("worktree", "add", "--quiet", "--detach", tree, commit)
    with (work / "setup.log").open("ab") as log:
        done = subprocess.run(["make", "-C", tree, "setup"], stdout=log, stderr=log, check=False)
    if done.returncode:
        raise Failed(f"make setup in {tree} failed; see {log.name}")
    return Checkout(path=tree, work=work)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"rows to measure: {', '.join(ROWS)}")
    parser.add_argument("--base", metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"measurements (default: {ROUNDS})")
    work = PROJECT / "build" / "timing"
    parser.add_argument("--work", type=Path, default=work, help="folder for both checkouts")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; known: {', '.join(ROWS)}")
    if args.rounds < 1:
        parser.error("--rounds: give at least 1")
    if args.rows and not args.base:
        parser.error('name the commit to compare with: make timing BASE=COMMIT ROWS="machine run"')
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not args.rows:
        PAGE.write_text(page(results, ROWS))
        print(f"{PAGE} was written again from {RESULTS.name}; to measure, name rows: {', '.join(ROWS)}")
        return 0
    failed = 0
    try:
        commits = {"base": git("rev-parse", f"{args.base}^{{commit}}"), "head": git("rev-parse", "HEAD")}
        if git("status", "--porcelain", "--untracked-files=no"):
            print("note: what is not committed is not measured")
        checkouts = {side: checkout(commits[side], args.work.resolve() / side) for side in SIDES}
    except Failed as error:
        print(f"timing: {error}", file=sys.stderr)
        return 2
    for name in args.rows:
        print(f"{name}: {ROWS[name].what}", flush=True)
        before = load_now()
        try:
            figures = measured(ROWS[name], checkouts, rounds=args.rounds)
        except Failed as error:
            print(f"timing: {name} was not measured: {error}", file=sys.stderr)
            failed += 1
            continue
        results[name] = {
            **commits,
            "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "host": host(),
            "load": [before, load_now()],
            "figures": figures,
        }
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        PAGE.write_text(page(results, ROWS))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
