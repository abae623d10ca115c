# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of one run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from harness.core.errors import UserError
from harness.core.locks import using
from harness.core.paths import RUNS


@contextmanager
def run_folder(wanted: Path | None) -> Iterator[Path]:
    """A new, empty folder for one run, locked while the block runs: `evh clean` leaves it alone.

    Args:
        wanted: None for a new folder under ``./runs``.

    Raises:
        UserError: the folder is not empty or cannot be made.
    """
    stack = ExitStack()
    path = wanted or RUNS / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    try:
        path.mkdir(parents=True, exist_ok=wanted is not None)
        if any(path.iterdir()):
            raise UserError(
                f"the run folder {path} is not empty",
                hint="Name a new folder, or omit --run-dir.",
            )
        path = path.resolve()
        stack.enter_context(using(path))
    except OSError as e:
        raise UserError(
            f"cannot make the run folder {path}: {e.strerror}", hint="Name another folder with --run-dir."
        ) from e
    with stack:
        yield path
