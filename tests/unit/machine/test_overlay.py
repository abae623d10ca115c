# SPDX-License-Identifier: GPL-2.0-or-later
"""Temporary disks, with the real qemu-img."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.machine.overlay import make_overlay


def test_a_disk_on_top_of_a_disk(tmp_path: Path) -> None:
    image, first, second = tmp_path / "image", tmp_path / "a b", tmp_path / "second"
    image.write_bytes(b"x" * 4096)
    make_overlay(first, image=image, format="raw")
    make_overlay(second, image=first, format="qcow2")
    command = ["qemu-img", "info", "--backing-chain", "--output=json", str(second)]
    chain = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert [(one["filename"], one["format"]) for one in chain] == [
        (str(second), "qcow2"), (str(first), "qcow2"), (str(image), "raw")
    ]  # fmt: skip


def test_image_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="nothing"):
        make_overlay(tmp_path / "disk", image=tmp_path / "nothing", format="raw")
