# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a program to its end; on failure, an error that a person can act on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import EvhError, InfraError

TAIL_LINES = 15


def need(program: str, *, package: str) -> str:
    """Path of ``program``, or an :class:`InfraError` naming its package.

    ``/usr/sbin`` and ``/sbin`` are looked into too: an ordinary user's PATH
    on Debian does not have them, and mke2fs lives there.
    """
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        raise InfraError(
            f"the program {program} is not installed",
            hint=f"install the package {package} (`make setup` installs all that is needed).",
        )
    return found


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last ``lines`` non-empty lines of ``text``."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with messages in English (some are parsed), plus ``extra``."""
    env = {k: v for k, v in os.environ.items() if k != "LANGUAGE" and not k.startswith("LC_")}
    return env | {"LC_ALL": "C.UTF-8"} | dict(extra or {})


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    log: Path | None = None,
    error: type[EvhError] = InfraError,
    hint: str = "",
) -> str:
    """Run ``argv`` and return its standard output.

    Args:
        what: what is being done, for the error message ("make the dom0 image").
        env: added to the environment.
        log: where both outputs are appended; returned output is empty then.
        error: raised when the program fails, with its last lines.
        hint: the error's next step.
    """
    command = [str(arg) for arg in argv]
    options: dict[str, object] = {"cwd": cwd, "env": environment(env)}
    if stdin is None:
        options["stdin"] = subprocess.DEVNULL
    else:
        options["input"] = stdin
    if log is not None:
        with log.open("ab") as out:
            start = out.tell()
            done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, **options)  # type: ignore[call-overload]
        output = ""
        said = log.read_bytes()[start:].decode(errors="replace") if done.returncode else ""
    else:
        done = subprocess.run(command, capture_output=True, **options)  # type: ignore[call-overload]
        output = done.stdout.decode(errors="replace")
        said = done.stderr.decode(errors="replace") or output
    if done.returncode:
        raise error(
            f"could not {what}: {command[0]} {ended(done.returncode)}\n{tail(said)}".rstrip(),
            hint=hint,
        )
    return output


def ended(returncode: int) -> str:
    """How a child ended, in words."""
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with {returncode}"
