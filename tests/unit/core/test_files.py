# SPDX-License-Identifier: GPL-2.0-or-later
"""Unbuffered files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from harness.core.files import LossyFile, replace_file, write_all


class Small(io.RawIOBase):
    """Takes three bytes at a time, as a disk that is nearly full may."""

    def __init__(self) -> None:
        self.got = b""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.got += data[:3]
        return len(data[:3])


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    replace_file(path, b"old")
    (tmp_path / "page.html.new").symlink_to("/dev/full")
    with pytest.raises(OSError):
        replace_file(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"] and path.read_bytes() == b"old"
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_all_is_written_though_each_write_takes_a_part() -> None:
    file = Small()
    write_all(file, b"0123456789")  # type: ignore[arg-type]
    assert file.got == b"0123456789"


def test_full_disk_is_an_error() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        write_all(file, b"x")


def test_what_a_full_disk_does_not_take_is_dropped_and_said() -> None:
    with LossyFile("/dev/full", "w") as file:
        assert file.lost is None
        file.write(b"x")
        assert file.lost is not None and file.lost.strerror == "No space left on device"
