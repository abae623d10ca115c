# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh b4-check`: what an earlier validation said of the mail on standard input, as b4 wants it.

b4's settings ``b4.review-perpatch-check-cmd`` and ``b4.review-series-check-cmd`` name a program that reads
a mail and prints a JSON list of ``{tool, status, summary, url, details}``; a status is pass, warn or fail.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.core.environment import environment
from harness.core.errors import EvhError, UserError
from harness.core.records import Verdict
from harness.source.series import IDENTITY
from harness.store.artifacts import Store
from harness.validate import mails
from harness.validate.choose import read_subject
from harness.validate.mails import Mail
from harness.validate.record import PatchRecord, SeriesRecord, ValidateRecord, load
from harness.validate.table import step_lines, verdict_line

TOOL = "evtchn-harness"


def kept_in(store: Store) -> Path:
    """The folder of the store that has a copy of each validate.json."""
    return store.root / "validate" / "records"


def patch_id(diff: str) -> str:
    """`git patch-id --stable` of a diff; empty if it holds no change."""
    done = subprocess.run(
        ["git", "patch-id", "--stable"],
        input=diff.encode("utf-8", "surrogateescape"),
        capture_output=True,
        env=environment(IDENTITY),
        check=False,
    )
    return done.stdout.decode().partition(" ")[0].strip()


def check(data: bytes, *, store: Store) -> list[dict[str, str]]:
    """What b4 is told of one mail: a patch, or a cover letter.

    Raises:
        UserError: it is no mail.
    """
    with TemporaryDirectory(prefix="evh-mail-") as folder:
        scratch = Path(folder) / "split"
        scratch.mkdir()
        path = Path(folder) / "mail"
        path.write_bytes(data)
        found, _ = mails.read(path, scratch)
        if len(found) != 1:
            raise UserError(f"standard input holds {len(found)} mails", hint="b4 gives one mail at a time.")
        return _answer(found[0], validations(store))


def validations(store: Store) -> list[ValidateRecord]:
    """All validations that are known, the newest first; those of other versions are passed over."""
    found = []
    for path in kept_in(store).glob("*"):
        try:
            found.append(load(path))
        except EvhError:
            continue
    return sorted(found, key=lambda one: one.started, reverse=True)


def _answer(mail: Mail, known: Sequence[ValidateRecord]) -> list[dict[str, str]]:
    if read_subject(mail).number == 0 or not mail.diff.strip():
        for record in known:
            if any(mail.message_id and series.message_id == mail.message_id for series in record.series):
                return [_of_series(record)]
    else:
        wanted = patch_id(mail.diff)
        for record in known:
            for series in record.series:
                for step in series.steps:
                    if step.patch_id and step.patch_id == wanted and step.verdict is not None:
                        return [_of_step(record, series, step)]
    return [
        _result("warn", "not validated yet", "Run `evh validate` on the series; this finds what it said.")
    ]


def _of_series(record: ValidateRecord) -> dict[str, str]:
    status = {"finished": "pass" if record.verdict is Verdict.PASS else "fail"}.get(record.state, "warn")
    return _result(status, verdict_line(record), f"validation {record.id}, level {record.level}")


def _of_step(record: ValidateRecord, series: SeriesRecord, step: PatchRecord) -> dict[str, str]:
    lines = [text for text, _ in step_lines(step)]
    status = "fail" if step.verdict not in (Verdict.PASS, Verdict.ERROR) else "warn" if lines else "pass"
    where = f"on {series.base}, level {record.level}, validation {record.id}"
    return _result(status, lines[0] if lines else f"nothing is broken, {where}", "\n".join([*lines, where]))


def _result(status: str, summary: str, details: str) -> dict[str, str]:
    return {"tool": TOOL, "status": status, "summary": summary, "url": "", "details": details}
