# SPDX-License-Identifier: GPL-2.0-or-later
"""Split the serial port that Xen and dom0 share into Xen's output and dom0's.

Xen writes its own messages and dom0's hvc0 to the same port, interleaved.
"""

from __future__ import annotations

from collections.abc import Iterator

_MARK = b"(XEN) "


class SerialSplitter:
    """Splits the shared serial stream into Xen's part and dom0's.

    Xen starts each of its lines with "(XEN) ", possibly in the middle of a
    line that dom0 has not ended yet: dom0's console driver passes on partial
    lines, and Xen's drivers/char/console.c:guest_console_write() prints them
    unchanged. From that mark to the end of the line the text is Xen's; then
    dom0's line continues. Before dom0 runs, everything is Xen's.
    """

    def __init__(self) -> None:
        self._dom0_runs = False
        self._in_xen = True
        self._xen_line = b""
        self._held = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield (layer, piece) for newly arrived bytes, in order.

        The end of `data` is held back as long as it may be the beginning of a mark.
        """
        data = self._held + data
        self._held = b""
        while data:
            if self._in_xen:
                line, end, data = data.partition(b"\n")
                # Not whole lines: QEMU delivers a few bytes at a time.
                yield "xen", line + end
                self._xen_line += line
                if end:
                    # Xen's last message before it hands the serial port to dom0.
                    self._dom0_runs |= b"*** Serial input to DOM" in self._xen_line
                    self._in_xen = not self._dom0_runs
                    self._xen_line = b""
                continue
            at = data.find(_MARK)
            if at >= 0:
                if at:
                    yield "dom0", data[:at]
                self._in_xen, data = True, data[at:]
                continue
            keep = _tail_that_may_be(data, _MARK)
            if len(data) > keep:
                yield "dom0", data[: len(data) - keep]
            self._held = data[len(data) - keep :]
            return

    def flush(self) -> Iterator[tuple[str, bytes]]:
        """Yield the bytes held back; call it at the end of the stream."""
        if self._held:
            yield "dom0", self._held
            self._held = b""


def _tail_that_may_be(data: bytes, mark: bytes) -> int:
    """Length of the longest suffix of `data` that is a proper prefix of `mark`."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:length]):
            return length
    return 0

