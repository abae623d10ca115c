# SPDX-License-Identifier: GPL-2.0-or-later
"""The mail, sent to a real SMTP server on the loopback device, and through a program called sendmail."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from fakes import NASTY, recorded

from harness.core.errors import InfraError, UserError
from harness.report.mail import MOST, message, send
from harness.run.record import TestResult

WHO = {"sender": "ci@example.org", "to": ["a@example.org", "b@example.org"]}


class Inbox:
    """Takes mails for anybody but ``refused``."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refused = ""

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(envelope)
        return "250 OK"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    inbox = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield inbox, f"smtp://127.0.0.1:{port}"
    finally:
        server.stop()


def test_mail_arrives_as_it_was_made(inbox) -> None:
    box, url = inbox
    made = message(recorded(), changes="new red (1): x\n  pass -> crash  é", link="https://x.example/", **WHO)
    send(made, by=url)
    (envelope,) = box.mails
    assert envelope.rcpt_tos == WHO["to"] and envelope.mail_from == "ci@example.org"
    got = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert got["Subject"].startswith("[evtchn] crash: ")
    assert got["Auto-Submitted"] == "auto-generated"
    text = got.get_content()
    assert text.replace("\r\n", "\n") == made.get_content().replace("\r\n", "\n")
    assert "report: https://x.example/" in text and "pass -> crash  é" in text
    assert "crash xen-4.20+linux-6.12/release/pv64/3l/limits::test_crash[a]/1: (XEN) Panic" in text


def test_nobody_listens() -> None:
    with pytest.raises(InfraError, match=r"127\.0\.0\.1 did not take the mail"):
        send(message(recorded(), **WHO), by="smtp://127.0.0.1:1")


def test_one_address_that_is_refused_is_told(inbox) -> None:
    box, url = inbox
    box.refused = "b@example.org"
    with pytest.raises(InfraError, match="no such user"):
        send(message(recorded(), **WHO), by=url)


def test_what_consoles_print_makes_no_header_and_no_escape(inbox) -> None:
    box, url = inbox
    record = recorded()
    record.tests[1].reason = NASTY + "\r\nBcc: x@example.org\r\n.\r\n"
    record.notes = ["a\nSubject: b"]
    send(message(record, **WHO), by=url)
    (envelope,) = box.mails
    got = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert got["Bcc"] is None and len(got.get_all("Subject")) == 1
    assert "\x1b" not in got.get_content() and "Bcc: x@example.org" in got.get_content()


def test_bad_night_is_cut() -> None:
    record = recorded()
    record.tests = [
        TestResult(cell=f"c{n}", test="t", suite="s", guest="g", abi="3l", verdict="fail", reason="x" * 5000)
        for n in range(3000)
    ]
    text = message(record, **WHO).get_content()
    assert "... and 2800 more" in text and len(text.splitlines()) < MOST + 30
    assert max(map(len, text.splitlines())) <= 998


@pytest.mark.parametrize("bad", ["nobody", "a@b@c", "x\nBcc: y@example.org", ""])
def test_wrong_addresses(bad: str) -> None:
    with pytest.raises(UserError, match="not valid addresses"):
        message(recorded(), sender="ci@example.org", to=[bad])


@pytest.mark.parametrize("bad", ["", "mail", "smtp://", "smtp://h:x", "http://h", "smtp://u:p@h"])
def test_wrong_ways(bad: str) -> None:
    with pytest.raises(UserError, match="no way to send mail"):
        send(message(recorded(), **WHO), by=bad)


def test_sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\n[ "$*" = "-t -i" ] || exit 64\ncat > {tmp_path}/got\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    send(message(recorded(), **WHO), by="sendmail")
    raw = (tmp_path / "got").read_bytes()
    assert b"\r" not in raw and b"To: a@example.org, b@example.org\n" in raw
    program.write_text("#!/bin/sh\nexit 75\n")
    with pytest.raises(InfraError, match="did not take"):
        send(message(recorded(), **WHO), by="sendmail")
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfraError, match="there is no sendmail"):
        send(message(recorded(), **WHO), by="sendmail")
