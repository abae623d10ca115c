# SPDX-License-Identifier: GPL-2.0-or-later
"""Temporary disks: qcow2 files on top of an image, which is not modified."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.core.errors import InfraError


def make_overlay(disk: Path, *, image: Path, format: str) -> None:
    """Make a temporary disk.

    Args:
        disk: the new file.
        image: the file that it reads what nobody has written to it; an absolute path.
        format: of the image: ``raw`` or ``qcow2``.
    Raises: InfraError: it cannot be made.
    """
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", str(image), str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise InfraError("qemu-img is missing", hint="apt install qemu-utils") from error
    except subprocess.CalledProcessError as error:
        raise InfraError(
            f"qemu-img cannot create {disk}: {error.stderr.strip()}",
            hint="is the disk full, or the image missing? see evh doctor",
        ) from error
