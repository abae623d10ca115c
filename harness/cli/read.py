# SPDX-License-Identifier: GPL-2.0-or-later
"""The command that judges consoles recorded elsewhere: ``read``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.options import KnownIssuesOption, known_issues
from harness.core.errors import UserError
from harness.core.text import printable


def read(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Console logs; - is standard input.")],
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            metavar="serial|xen|dom0|guest",
            help="Who printed it; [bold]serial[/bold] is the port that Xen and dom0 share "
            "(default: serial if a line has the (XEN) prefix, else guest).",
        ),
    ] = "",
    known: KnownIssuesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge console logs that were recorded elsewhere: crash reports, and KTAP results.

    The exit code is that of the verdict, as for `evh run`. Nothing needs to be built.

    [bold]evh read serial.log[/bold]                  a machine's serial port, split by layer
    [bold]dmesg | evh read --layer dom0 -[/bold]      a running kernel
    [bold]evh read --json console.log[/bold]          for programs
    """
    import msgspec

    from harness.dev.read import LAYERS, read_files, text_of, worst
    from harness.monitor.knownissues import KnownIssues
    from harness.run.judge import EXIT_CODES

    if layer and layer not in LAYERS:
        raise UserError(f"--layer {layer}: no such layer", hint=f"Use one of {', '.join(LAYERS)}.")
    issues = KnownIssues(known_issues(known))
    readings = read_files(files, layer=layer, known=issues)
    verdict = worst(readings)
    if as_json:
        document = {"verdict": verdict, "files": readings, "notes": issues.complaints()}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        said = "\n".join([text_of(readings), *issues.complaints(), str(verdict)])
        print(printable(said), file=sys.stdout)
    raise typer.Exit(EXIT_CODES[verdict])
