# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that tell others of a run: ``export`` and ``mail``."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import newest_run
from harness.core.errors import InfraError, UserError


class Format(enum.StrEnum):
    GITHUB_SUMMARY = "github-summary"
    GITHUB_ANNOTATIONS = "github-annotations"
    GITLAB_CODEQUALITY = "gitlab-codequality"
    GITLAB_METRICS = "gitlab-metrics"
    KCIDB = "kcidb"
    BADGE = "badge"


RunArgument = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="Run folder (default: the newest under ./runs).")
]


def export(
    what: Annotated[Format, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(Format)}.")],
    run: RunArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here (default: print it).")
    ] = None,
    origin: Annotated[
        str, typer.Option("--origin", metavar="NAME", help="For kcidb: the name of your CI system.")
    ] = "",
) -> None:
    """Print a run in the form that another program reads (docs/ci.md).

    [bold]evh export github-summary >> $GITHUB_STEP_SUMMARY[/bold]
    [bold]evh export gitlab-codequality -o codequality.json[/bold]
    [bold]evh export kcidb --origin mylab -o run.kcidb.json[/bold]
    """
    from harness.report import badge, github, gitlab, kcidb
    from harness.run.record import load

    if (what is Format.KCIDB) != bool(origin):
        raise UserError("kcidb needs --origin, and nothing else does", hint="evh export kcidb --origin mylab")
    _, record = load(run or newest_run())
    writers: dict[Format, Callable[[], str]] = {
        Format.GITHUB_SUMMARY: lambda: github.summary(record),
        Format.GITHUB_ANNOTATIONS: lambda: github.workflow_commands(record),
        Format.GITLAB_CODEQUALITY: lambda: gitlab.code_quality(record),
        Format.GITLAB_METRICS: lambda: gitlab.metrics(record),
        Format.KCIDB: lambda: kcidb.kcidb(record, origin=origin),
        Format.BADGE: lambda: badge.badge(record),
    }
    _write(writers[what](), output)


def mail(
    to: Annotated[list[str], typer.Option("--to", metavar="ADDRESS", help="Who gets it. May be repeated.")],
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Who sends it.")],
    run: RunArgument = None,
    since: Annotated[
        Path | None, typer.Option("--since", metavar="RUN", help="Say what changed since this run.")
    ] = None,
    link: Annotated[str, typer.Option("--link", metavar="URL", help="Where the report is.")] = "",
    send: Annotated[
        str,
        typer.Option(
            "--send",
            metavar="sendmail|smtp://HOST:PORT|smtps://HOST:PORT",
            help="Send it (default: print it, or write it to --output).",
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the mail here.")
    ] = None,
) -> None:
    """Make one plain-text mail of a run, and send it if asked to."""
    from harness.history.diff import diff, text_of
    from harness.report.mail import message
    from harness.report.mail import send as deliver
    from harness.run.record import load

    folder, record = load(run or newest_run())
    changes = text_of(diff(since, folder)) if since else ""
    made = message(record, sender=sender, to=to, changes=changes, link=link)
    if output or not send:
        _write(made.as_string(policy=made.policy.clone(linesep="\n")), output)
    if send:
        deliver(made, by=send)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfraError(f"cannot write {output}: {error.strerror}", hint="Name another file.") from error
