# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as one plain-text mail: written to a file, or sent by sendmail or SMTP."""

from __future__ import annotations

import smtplib
import subprocess
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, make_msgid
from urllib.parse import urlsplit

from harness.core.environment import environment
from harness.core.errors import InfraError, UserError
from harness.core.records import Verdict
from harness.core.text import duration, printable
from harness.report.tables import headline, why
from harness.run.record import RunRecord

# Lines of each list, so that a bad night does not make a mail that no server takes.
MOST = 200
SECONDS = 60


def message(
    record: RunRecord, *, sender: str, to: Sequence[str], changes: str = "", link: str = ""
) -> EmailMessage:
    """The mail.

    Args:
        changes: what changed since an earlier run (``history.diff.text_of``); empty: not compared.
        link: where the report is.

    Raises:
        UserError: an address is not valid.
    """
    mail = EmailMessage(policy=SMTP_POLICY)
    try:
        mail["Subject"] = _line(f"[evtchn] {record.verdict or record.state}: {headline(record)}")[:200]
        mail["From"] = sender
        mail["To"] = ", ".join(to)
        addresses = (*mail["From"].addresses, *mail["To"].addresses)
        if not mail["From"].addresses or not mail["To"].addresses:
            raise ValueError("one is empty")
        if not all(address.domain and address.username for address in addresses):
            raise ValueError("an address has no @")
    except (ValueError, IndexError) as error:
        raise UserError(
            f"{sender} to {', '.join(to)}: not valid addresses: {error}", hint="Write name@example.org."
        ) from error
    mail["Date"] = format_datetime(datetime.fromisoformat(record.ended or record.updated or record.started))
    mail["Message-ID"] = make_msgid(domain="evtchn-harness.invalid")
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834
    mail.set_content(body(record, changes=changes, link=link))
    return mail


def body(record: RunRecord, *, changes: str = "", link: str = "") -> str:
    """The text of the mail."""
    red = [test for test in record.tests if test.verdict not in (Verdict.PASS, Verdict.SKIP)]
    out = [f"{record.verdict or record.state}: {_line(headline(record))}"]
    out += [f"report: {link}"] if link else []
    out += [f"time: {duration(record.seconds)}", f"again: {record.reproduce}"]
    out += [f"{one.name} {one.version} from {one.origin}" for one in record.sources]
    out += ["", *(_line(note) for note in record.notes)] if record.notes else []
    if changes:
        out += ["", "Since the run before:", "", *_cut(printable(changes).splitlines())]
    if red:
        out += ["", f"Red ({len(red)}):", ""]
        out += _cut([_line(f"{test.verdict or 'unfinished'} {test.cell}: {why(test)}") for test in red])
    return "\n".join(out) + "\n"


def _line(text: str) -> str:
    return " ".join(printable(text).split())


def _cut(lines: Sequence[str]) -> list[str]:
    more = [f"... and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return [line[:900] for line in lines[:MOST]] + more  # RFC 5322: at most 998


def send(mail: EmailMessage, *, by: str) -> None:
    """Send a mail.

    Args:
        by: ``sendmail``, or ``smtp://host:port`` (STARTTLS if the server offers it) or ``smtps://host:port``.

    Raises:
        UserError: ``by`` is none of these. InfraError: the mail was not accepted.
    """
    if by == "sendmail":
        _by_sendmail(mail)
        return
    url = urlsplit(by)
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if url.scheme not in ("smtp", "smtps") or not host or url.path not in ("", "/") or url.username:
        raise UserError(f"{by}: no way to send mail", hint="Name sendmail, smtp://host:port or smtps://host:port.")
    try:
        kind = smtplib.SMTP_SSL if url.scheme == "smtps" else smtplib.SMTP
        with kind(host, port or (465 if url.scheme == "smtps" else 25), timeout=SECONDS) as server:
            if url.scheme == "smtp":
                server.ehlo()
                if server.has_extn("starttls"):
                    server.starttls()
            if refused := server.send_message(mail):
                raise smtplib.SMTPRecipientsRefused(refused)
    except (OSError, smtplib.SMTPException) as error:
        raise InfraError(
            f"{host} did not take the mail: {error}", hint="--output writes it to a file instead."
        ) from error


def _by_sendmail(mail: EmailMessage) -> None:
    try:
        subprocess.run(
            ["sendmail", "-t", "-i"], input=mail.as_bytes(policy=mail.policy.clone(linesep="\n")), check=True,
            timeout=SECONDS, capture_output=True, env=environment(),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise InfraError(
            "there is no sendmail", hint="Install msmtp-mta, for example, or use smtp://."
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise InfraError(f"sendmail did not take the mail: {error}", hint="Its log says why.") from error
