# SPDX-License-Identifier: GPL-2.0-or-later
"""Following files of dom0; the commands are run by this host's shell."""

from __future__ import annotations

import os
import queue
import select
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from harness.guest.follower import Follower
from harness.monitor.waits import MachineDied, Watchdog


class Stream:
    """A command of this host, with the part of an SSH stream that a follower uses."""

    def __init__(self, command: str) -> None:
        self.child = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, bufsize=0)
        self._closed, self._close = os.pipe()

    def readline(self, *, within: float) -> str:
        assert self.child.stdout
        return self.child.stdout.readline().decode().strip()

    def read(self) -> bytes:
        assert self.child.stdout
        ready, _, _ = select.select([self.child.stdout, self._closed], [], [], 10)
        return b"" if self._closed in ready else os.read(self.child.stdout.fileno(), 4096)

    def close(self) -> None:
        """As with SSH, the command itself goes on."""
        os.write(self._close, b"x")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Followed:
    """A follower of ``path``, and what it has heard."""

    def __init__(self, path: Path) -> None:
        self.heard = b""
        self.ends = 0
        self.streams: list[Stream] = []
        self.failures: queue.Queue[str] = queue.Queue()
        self.watchdog = Watchdog()
        machine: Any = SimpleNamespace(dom0=SimpleNamespace(stream=self.stream), watchdog=self.watchdog)
        self.follower = Follower(machine, str(path), self.hear, self.end, self.failures.put)

    def stream(self, command: str, *, timeout: float | None) -> Stream:
        self.streams.append(Stream(command))
        return self.streams[-1]

    def hear(self, data: bytes) -> None:
        self.heard += data

    def end(self) -> None:
        self.ends += 1

    def wait_for(self, heard: bytes) -> None:
        end = time.monotonic() + 10
        while self.heard != heard:
            assert time.monotonic() < end, f"heard {self.heard!r}"
            time.sleep(0.01)

    def clean_up(self) -> None:
        for stream in self.streams:
            stream.child.kill()
            stream.child.communicate()


@pytest.fixture
def followed(tmp_path: Path):
    (tmp_path / "a b.log").write_text("of an earlier guest\n")
    its = Followed(tmp_path / "a b.log")
    yield its
    its.clean_up()


def test_file_is_heard_from_its_first_byte_and_an_old_one_is_gone(followed: Followed, tmp_path: Path) -> None:
    assert not (tmp_path / "a b.log").exists()
    with (tmp_path / "a b.log").open("w") as file:
        for text in ("first\n", "second"):
            file.write(text)
            file.flush()
        followed.wait_for(b"first\nsecond")
    followed.follower.stop(drain=False)


def test_last_bytes_are_fetched_and_each_is_heard_once(followed: Followed, tmp_path: Path) -> None:
    (tmp_path / "a b.log").write_text("first\n")
    followed.wait_for(b"first\n")
    with (tmp_path / "a b.log").open("a") as file:
        file.write("last words")
    followed.follower.stop(drain=True)
    assert followed.heard == b"first\nlast words"
    assert followed.streams[0].child.wait(10) != 0, "tail outlives its channel unless it is killed"


def test_end_is_told_once(followed: Followed) -> None:
    for _ in range(2):
        followed.follower.stop(drain=False)
    assert followed.ends == 1
    assert followed.failures.empty(), "it was told to end"


def test_a_command_that_ends_by_itself_is_told(followed: Followed) -> None:
    followed.streams[0].child.kill()
    assert "has ended" in followed.failures.get(timeout=10)


def test_a_recording_that_fails_is_told(followed: Followed, tmp_path: Path) -> None:
    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    followed.follower._on_data = full
    (tmp_path / "a b.log").write_text("first\n")
    assert followed.failures.get(timeout=10) == "No space left on device"


def test_the_loss_of_the_machine_is_no_failure_of_its_own(followed: Followed) -> None:
    followed.watchdog.lose(lambda: MachineDied("QEMU ended"))
    followed.streams[0].child.kill()
    followed.follower._thread.join(10)
    assert followed.failures.empty()
