# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters out of a machine: gcc's structures, and the series' lines."""

from __future__ import annotations

import struct

import pytest

from harness.core.errors import InfraError
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
