# SPDX-License-Identifier: GPL-2.0-or-later
"""An SQLite index over run folders, so that months of nights are read in a second.

Nothing lives in it alone: each sync brings it in line with the folders, and a file that is damaged, or of
another version, is made anew.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from harness.core.errors import InfraError, UserError
from harness.core.records import Verdict
from harness.history.estimates import measured
from harness.history.runs import folders_in
from harness.history.same import subject_of
from harness.run.planning import PLAN_JSON, load_plan
from harness.run.record import JOURNAL, RUN_JSON, RunRecord, TestResult, boot_of, is_deterministic, load

FILE = ".index.sqlite"
VERSION = 1
TABLES = """
CREATE TABLE run (
    folder TEXT PRIMARY KEY,   -- its name
    stamp TEXT NOT NULL,       -- of run.json and the journal; another one: read it again
    id TEXT NOT NULL, started TEXT NOT NULL, state TEXT NOT NULL, verdict TEXT NOT NULL,
    flavour TEXT NOT NULL, place TEXT NOT NULL, qemu TEXT NOT NULL, versions TEXT NOT NULL,
    tested TEXT NOT NULL,
    parts TEXT NOT NULL        -- id and start of each run that it was merged from
);
CREATE TABLE test (
    folder TEXT NOT NULL REFERENCES run ON DELETE CASCADE,
    cell TEXT NOT NULL,
    verdict TEXT NOT NULL,     -- empty: planned, and never judged
    layer TEXT NOT NULL, reason TEXT NOT NULL, known TEXT NOT NULL,
    flaky INTEGER NOT NULL, exact INTEGER NOT NULL,
    console TEXT NOT NULL      -- hash of a deterministic boot's console; empty: not compared
);
CREATE TABLE metric (
    folder TEXT NOT NULL REFERENCES run ON DELETE CASCADE,
    cell TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, exact INTEGER NOT NULL
);
CREATE INDEX test_of ON test (folder);
CREATE INDEX metric_of ON metric (folder);
"""


@contextmanager
def index_of(runs: Path) -> Iterator[sqlite3.Connection]:
    """The index of a folder of runs, brought in line with them.

    Raises:
        UserError: there is no such folder. InfraError: the index can be neither read nor made.
    """
    if not runs.is_dir():
        raise UserError(f"no folder {runs}", hint="Name a folder of run folders.")
    path = runs / FILE
    try:
        connection = _opened(path)
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)  # damaged, or of another version; the folders have all of it
        connection = _opened_or_memory(path)
    with closing(connection):
        try:
            sync(connection, runs)
        except sqlite3.OperationalError as error:
            raise InfraError(
                f"cannot write the index {path}: {error}", hint="Free some space, or remove the file."
            ) from error
        yield connection


def _opened_or_memory(path: Path) -> sqlite3.Connection:
    try:
        return _opened(path)
    except sqlite3.DatabaseError:
        return _made(sqlite3.connect(":memory:"))  # a folder that is read-only


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"version {version}")
        if version == 0:
            return _made(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("SELECT count(*) FROM run, test, metric LIMIT 1").fetchone()
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _made(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    return connection


def sync(connection: sqlite3.Connection, runs: Path) -> None:
    """Read the folders that are new or changed, and forget those that are gone."""
    known = dict(connection.execute("SELECT folder, stamp FROM run"))
    there = {folder.name: _stamp(folder) for folder in folders_in(runs)}
    with connection:
        for name in known.keys() - there.keys():
            connection.execute("DELETE FROM run WHERE folder = ?", (name,))
        for name, stamp in there.items():
            if known.get(name) == stamp:
                continue
            connection.execute("DELETE FROM run WHERE folder = ?", (name,))
            try:
                folder, record = load(runs / name)
            except UserError:
                continue  # cut short by a full disk, or from another version
            _add(connection, name, stamp, folder, record)


def _stamp(folder: Path) -> str:
    """Changes whenever a run writes its record. A run whose process has gone changes without a write."""
    parts = []
    for name in (RUN_JSON, JOURNAL, "in-use"):
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        parts.append(f"{name}:{status.st_ino}:{status.st_mtime_ns}:{status.st_size}")
    return " ".join(parts)


def _add(connection: sqlite3.Connection, name: str, stamp: str, folder: Path, record: RunRecord) -> None:
    host, kind = record.host, record.accelerator.kind if record.accelerator else ""
    connection.execute(
        "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            name, stamp, record.id, record.started, record.state, str(record.verdict or ""), record.flavour,
            # Times of different hosts are not compared.
            f"{kind}, {host.get('cpus', '?')} CPUs, {host.get('machine', '?')}",
            host.get("qemu", ""),
            _json({source.name: source.version for source in record.sources}),
            _json(subject_of(record)),
            _json([[part.id, part.started] for part in record.parts]),
        ),
    )  # fmt: skip
    for test in record.tests:
        exact = is_deterministic(record, test)
        known = test.quarantine or ("passed over" if test.known_issues else "")
        connection.execute(
            "INSERT INTO test VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name, test.cell, str(test.verdict or ""), test.layer, test.reason, known, test.flaky, exact,
                _console(folder, record, test) if exact else "",
            ),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO metric VALUES (?, ?, ?, ?, ?)",
            [(name, test.cell, metric, value, exact) for metric, value in test.metrics.items()],
        )
    seen = {test.cell for test in record.tests}
    connection.executemany(
        "INSERT INTO test VALUES (?, ?, '', '', '', '', 0, 0, '')",
        [(name, cell) for cell in _planned(folder, record) if cell not in seen],
    )
    connection.executemany(
        "INSERT INTO metric VALUES (?, ?, ?, ?, 0)",
        [(name, cell, metric, value) for cell, metric, value in _times(record)],
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _planned(folder: Path, record: RunRecord) -> list[str]:
    """The cells that a run, or its parts, were to run."""
    found: dict[str, None] = {}
    for place in (folder, *(folder / part.folder for part in record.parts)):
        with suppress(UserError):
            found |= dict.fromkeys(one.cell for one in load_plan(place / PLAN_JSON).mine)
    return list(found)


def _console(folder: Path, record: RunRecord, test: TestResult) -> str:
    """Hash of what a deterministic boot printed; a boot that a deadline ended is not compared."""
    boot = boot_of(record, test)
    if boot is None or Verdict.HANG in (boot.verdict, test.verdict):
        return ""
    try:
        return hashlib.sha256((folder / boot.console).read_bytes()).hexdigest()
    except OSError:
        return ""


def _times(record: RunRecord) -> Iterator[tuple[str, str, float]]:
    """Times and memory that vary: cell, name, value. Only what passed is comparable."""
    passed = {test.cell for test in record.tests if test.verdict is Verdict.PASS}
    for cell, estimate in measured(record):
        if cell in passed:
            yield cell, "seconds", estimate.seconds
    for row in record.rows:
        if row.test in passed:
            name = f"{row.abi} {row.guest} {row.path}"
            yield row.test, f"{name} seconds", row.seconds
            for what, value in (("guest", row.guest_bytes_per_port), ("Xen", row.xen_bytes_per_port)):
                if value is not None:
                    yield row.test, f"{name} {what} B/port", value
