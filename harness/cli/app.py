# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, ``evh``.

Progress and errors go to stderr, results to stdout. Commands import heavy
modules only when they run, so that ``--help`` is instant.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from harness.cli import bases, build, export, history, host, mutate, plan, read, run, validate, watch
from harness.cli.options import BUG, tell
from harness.core.errors import EvhError
from harness.core.records import Verdict
from harness.core.signals import Interrupted, signals_end_cleanly


class _Group(TyperGroup):
    """Turns an EvhError into a message, a hint and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with signals_end_cleanly(lambda text: print(f"evh: {text}", file=sys.stderr)):
                return super().invoke(ctx)
        except Interrupted as e:
            print(f"evh: ended by {e}", file=sys.stderr)
            raise typer.Exit(128 + e.number) from e
        except EvhError as e:
            tell(e)
            verdict = getattr(e, "verdict", None)
            if isinstance(verdict, Verdict) and verdict is not Verdict.ERROR:
                from harness.run.judge import EXIT_CODES

                raise typer.Exit(EXIT_CODES[verdict]) from e
            raise typer.Exit(e.exit_code) from e
        except BrokenPipeError as e:  # `evh shell -c ... | head`, which writes to the descriptor itself
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from e


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""
    Test event channels on real, nested Xen: build, boot, test, debug.

    Start with [bold]evh run[/bold]: it fetches and builds Xen and Linux with the
    two patch series, boots them under QEMU, opens every event channel that
    fits, and checks that each delivers. The first run takes 10 to 15 minutes,
    most of it compiling; later runs reuse what was built.
    """,
    epilog="Exit codes: 0 pass, 1 fail, 2 wrong usage, 3 crash, 4 error in the harness or host, "
    "5 hang, 6 nothing ran. "
    "See also docs/verdicts.md, docs/troubleshooting.md.",
)


# In the order of the help text.
app.command(epilog=run.SUITE_LIST)(run.run)
app.command(epilog=run.SUITE_LIST)(watch.watch)
app.command(epilog=run.SUITE_LIST)(plan.plan)
for command in (
    plan.merge,
    run.repro,
    run.report,
    read.read,
    validate.validate,
    validate.bisect,
    validate.b4_check,
    history.diff,
    history.trends,
    export.export,
    export.mail,
    bases.bases,
    build.build,
    build.boot,
    build.shell,
    host.doctor,
    host.clean,
    mutate.mutate,
):
    app.command()(command)
app.add_typer(validate.series, name="series")


class UnreadOutput(io.FileIO):
    """A standard stream that drops what nobody reads: ``evh run | head`` still ends with its verdict."""

    def write(self, data: Any, /) -> int:
        """Write; if the reader has gone, do as if it had read."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)


def unread(stream: TextIO) -> TextIO:
    """The same standard stream, which does not fail if its reader has gone or its encoding lacks a letter."""
    stream.flush()
    raw = UnreadOutput(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or stream.isatty(),
    )


def main() -> None:
    """Entry point. Any exception other than EvhError is a bug: traceback and exit code 4."""
    # One of them is None if it was closed before the start.
    sys.stdout, sys.stderr = (stream and unread(stream) for stream in (sys.stdout, sys.stderr))
    try:
        app()
    except Exception:
        traceback.print_exc()
        print(
            "evh: this is a bug in the harness; see the traceback above and run.json",
            file=sys.stderr,
        )
        sys.exit(BUG)

