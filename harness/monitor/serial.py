# SPDX-License-Identifier: GPL-2.0-or-later
"""Split the serial port that Xen and dom0 share by who printed what.

Xen writes its own messages and dom0's hvc0 to the same port, interleaved, and
what other domains print before their console is up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# What Xen begins a line with: "(XEN) " for its own, "(d3) " for a line of domain 3.
_MARK = re.compile(rb"\((?:XEN|d(?P<domain>\d{1,5}))\) ")
_MAY_BE_MARK = re.compile(rb"\((?:X(?:E(?:N\)?)?)?|d(?:\d{1,5}\)?)?)?$")


class SerialSplitter:
    """Splits the shared serial stream into Xen's part, dom0's, and other domains'.

    Xen starts each line of its own with a mark, possibly in the middle of a line
    that dom0 has not ended yet: dom0's console driver passes on partial lines,
    and Xen's drivers/char/console.c:guest_console_write() prints them unchanged.
    From that mark to the end of the line the text is Xen's, or that of the domain
    in the mark; then dom0's line continues. Before the first mark everything is
    counted as Xen's: it is the firmware's or the boot loader's, or Xen's banner.

    Which messages Xen prints before dom0 runs depends on its command line
    (``conswitch``, ``loglvl``), so that none of them is waited for.
    """

    def __init__(self) -> None:
        self._begun = False
        self._marked = ""  # the layer of the marked line that is being printed; empty: none
        self._held = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield (layer, piece) for newly arrived bytes, in order; layers are ``xen`` and ``dom<number>``.

        The end of `data` is held back as long as it may be the beginning of a mark.
        """
        data = self._held + data
        self._held = b""
        while data:
            if self._marked:
                line, end, data = data.partition(b"\n")
                # Not whole lines: QEMU delivers a few bytes at a time.
                yield self._marked, line + end
                if end:
                    self._marked = ""
                continue
            if mark := _MARK.search(data):
                if mark.start():
                    yield self._unmarked, data[: mark.start()]
                domain = mark["domain"]
                self._marked = f"dom{int(domain)}" if domain else "xen"
                self._begun = True
                data = data[mark.start() :]
                continue
            may_be = _MAY_BE_MARK.search(data)
            keep = may_be.start() if may_be else len(data)
            if keep:
                yield self._unmarked, data[:keep]
            self._held = data[keep:]
            return

    def flush(self) -> Iterator[tuple[str, bytes]]:
        """Yield the bytes held back; call it at the end of the stream."""
        if self._held:
            yield self._unmarked, self._held
            self._held = b""

    @property
    def _unmarked(self) -> str:
        return "dom0" if self._begun else "xen"
