# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles of Xen, dom0 and every guest: recorded, split, merged, watched.

Xen and dom0 share one serial port (Xen writes dom0's hvc0 to it as it
comes), so that stream is taken apart first. Each layer's part goes to
``console-<layer>.log`` byte by byte, and all lines together, with the time of
arrival and the layer's name, to ``consoles.log``.
"""

from __future__ import annotations

from collections.abc import Iterator

_MARK = b"(XEN) "


class SerialSplitter:
    """Takes the shared serial stream apart into Xen's part and dom0's.

    Xen starts each of its lines with "(XEN) ", and may do so in the middle of
    a line that dom0 has not ended yet (dom0's console driver hands over what
    it has, drivers/char/console.c:guest_console_write() puts it out as it
    is). From that mark to the end of the line it is Xen's; what comes then
    goes on with dom0's line. Before dom0 runs, all is Xen's.
    """

    def __init__(self) -> None:
        self._dom0_runs = False
        self._in_xen = True
        self._xen_line = b""
        self._held = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield (layer, piece) for newly arrived bytes, in order.

        The end of `data` is held back while it may be the beginning of a mark.
        """
        data = self._held + data
        self._held = b""
        while data:
            if self._in_xen:
                line, end, data = data.partition(b"\n")
                # In pieces: QEMU hands the port over a few bytes at a time.
                yield "xen", line + end
                self._xen_line += line
                if end:
                    # Xen's last words before it hands the serial port to dom0.
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
        """Yield what is held back: nothing more will come."""
        if self._held:
            yield "dom0", self._held
            self._held = b""


def _tail_that_may_be(data: bytes, mark: bytes) -> int:
    """Length of the longest end of `data` that is a beginning of `mark`."""
    for length in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:length]):
            return length
    return 0

