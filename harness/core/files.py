# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written without a buffer, so that they are complete even if the harness is killed;
files that are replaced by one rename; and files that a full disk may cut short.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, BinaryIO


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of ``data`` to an unbuffered file.

    One write on a nearly full disk may take only a part, and says so by its result alone.

    Raises:
        OSError: the disk is full, for example.
    """
    while data:
        data = data[file.write(data) :]


def replace_file(path: Path, data: bytes) -> None:
    """Write a file beside ``path`` and rename it, so that nobody sees a part of it.

    Raises:
        OSError: the disk is full, for example; ``path`` is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


class LossyFile(io.FileIO):
    """A file of which a full disk takes the rest, for what no verdict depends on.

    Attributes:
        lost: why something was not written; None if all was.
    """

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write; what cannot be written is dropped."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = self.lost or error
            return len(data)
