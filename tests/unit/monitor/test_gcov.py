# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters out of a machine: the talk with QEMU, gcc's structures, and the series' lines."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.machine.rescue import RWDATA, Rescue
from harness.monitor.gcov import (
    GCDA_MAGIC,
    TAG_COUNTERS,
    TAG_FUNCTION,
    Image,
    added_lines,
    gcc_major,
    gcda_files,
)

DIFF = """\
diff --git a/xen/common/event_channel.c b/xen/common/event_channel.c
--- a/xen/common/event_channel.c
+++ b/xen/common/event_channel.c
@@ -5,2 +5 @@ x
-a
-b
+c
@@ -20,0 +20,3 @@ y
+d
+e
+f
@@ -30,4 +33,0 @@ z
-g
diff --git a/xen/common/event_2l.c b/xen/common/event_2l.c
--- a/xen/common/event_2l.c
+++ b/xen/common/event_2l.c
@@ -1 +1 @@
-h
+i
"""


def test_lines_that_the_series_adds() -> None:
    assert added_lines(DIFF) == {"event_channel.c": {5, 20, 21, 22}, "event_2l.c": {1}}


@pytest.mark.parametrize(("letters", "major"), [("B22*", 12), ("A93*", 9), ("B42e", 14)])
def test_version_of_gcc(letters: str, major: int) -> None:
    assert gcc_major(int.from_bytes(letters.encode(), "big")) == major


class Memory(Image):
    """A memory of a few pieces, and none of a file."""

    def __init__(self, head: int, parts: list[tuple[int, bytes]]) -> None:
        self.head, self._parts = head, parts


def test_counters_of_one_object() -> None:
    version = int.from_bytes(b"B22*", "big")
    info = struct.pack("<I4xQIIQ", version, 0, 7, 0, 0x3000) + struct.pack("<8Q", 1, 0, 0, 0, 0, 0, 0, 0)
    info += struct.pack("<I4xQ", 1, 0x4000)
    function = struct.pack("<QIII4xI4xQ", 0x2000, 11, 12, 13, 2, 0x6000)
    memory = Memory(
        0x1000,
        [
            (0x1000, struct.pack("<Q", 0x2000)),
            (0x2000, info),
            (0x3000, b"common/event_3l.gcda\0"),
            (0x4000, struct.pack("<Q", 0x5000)),
            (0x5000, function),
            (0x6000, struct.pack("<QQ", 5, 0)),
        ],
    )
    ((name, data),) = gcda_files(memory)
    assert name == "common/event_3l.gcda"
    words = struct.unpack(f"<{len(data) // 4}I", data)
    assert words[:4] == (GCDA_MAGIC, version, 7, 0)
    assert words[4:9] == (TAG_FUNCTION, 12, 11, 12, 13)
    assert words[9:] == (TAG_COUNTERS, 16, 5, 0, 0, 0)


def test_memory_that_was_not_saved_is_said() -> None:
    with pytest.raises(InfraError, match="0x2000"):
        list(gcda_files(Memory(0x1000, [(0x1000, struct.pack("<Q", 0x2000))])))


class Monitor(threading.Thread):
    """QEMU's side of the talk."""

    def __init__(self, folder: Path, *, ends: bool, moved: bool = False) -> None:
        super().__init__(daemon=True)
        self.folder, self.ends, self.moved = folder, ends, moved
        self.asked: list[str] = []

    def run(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(f"/proc/self/fd/{handle}/qmp")
            os.close(handle)
            with link.makefile("rw") as talk:
                self.say(talk, {"QMP": {}})
                for line in talk:
                    self.answer(talk, json.loads(line))
                    if not self.ends:
                        return

    @staticmethod
    def say(talk: object, words: dict[str, object]) -> None:
        talk.write(json.dumps(words) + "\n")  # type: ignore[attr-defined]
        talk.flush()  # type: ignore[attr-defined]

    def answer(self, talk: object, asked: dict[str, object]) -> None:
        command = str(asked["execute"])
        self.asked.append(command)
        value: object = {}
        if command == "human-monitor-command":
            value = "Unmapped\r\n" if self.moved else "gpa: 0x3e000000\r\n"
        if command == "pmemsave":
            (self.folder / "memory").write_bytes(b"memory")
        self.say(talk, {"return": value})
        if command == "qmp_capabilities" and self.ends:
            self.say(talk, {"event": "SHUTDOWN"})


@pytest.fixture
def rescue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rescue:
    names = dict.fromkeys(RWDATA, 0)
    monkeypatch.setattr("harness.machine.rescue.symbols", lambda syms, wanted: names)
    return Rescue(syms=tmp_path, dest=tmp_path / "saved")


def test_memory_is_taken_when_the_guest_has_ended(tmp_path: Path, rescue: Rescue) -> None:
    folder = tmp_path / ("a folder whose name is too long for a socket " + "x" * 100)
    folder.mkdir()
    qemu = Monitor(folder, ends=True)
    with rescue.beside(folder) as words:
        assert "-no-shutdown" in words
        qemu.start()
        qemu.join(10)
    assert rescue.problem == ""
    assert (tmp_path / "saved").read_bytes() == b"memory"
    assert qemu.asked == ["qmp_capabilities", "human-monitor-command", "pmemsave", "quit"]


@pytest.mark.parametrize("words", [{"ends": False}, {"ends": True, "moved": True}, None])
def test_memory_that_was_not_had_is_said(
    tmp_path: Path, rescue: Rescue, words: dict[str, bool] | None
) -> None:
    with rescue.beside(tmp_path):
        if words is not None:
            qemu = Monitor(tmp_path, **words)
            qemu.start()
            if not words["ends"]:
                qemu.join(10)
            else:
                while "human-monitor-command" not in qemu.asked:
                    qemu.join(0.05)
    assert rescue.problem
    assert not (tmp_path / "saved").exists()
