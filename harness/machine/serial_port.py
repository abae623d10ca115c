# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's serial port: a Unix socket that QEMU connects to."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path

_CHUNK = 1 << 16


class SerialPort:
    """Listens for QEMU's serial port and passes on what arrives.

    QEMU connects before it runs any guest code, so no byte is missed.

    Args:
        path: where to create the socket; at most 107 bytes long.
        on_data: called, on a thread of this object, with each piece of output.
        ended: called, on the same thread, once QEMU has closed the connection or `close` has ended it;
            not called if QEMU never connected.
        failed: called, on the same thread, if `on_data` fails, for example because the disk is full;
            nothing is passed on after that, and `ended` is not called.

    Raises: OSError: the socket cannot be created.
    """

    def __init__(
        self, path: Path, *, on_data: Callable[[bytes], object], ended: Callable[[], object],
        failed: Callable[[Exception], object],
    ) -> None:  # fmt: skip
        self._on_data = on_data
        self._ended = ended
        self._failed = failed
        self._peer: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(
            target=self._pump, name=f"{path.parent.name}-{path.name}", daemon=True
        )
        self._thread.start()

    @property
    def connected(self) -> bool:
        """Whether QEMU is connected."""
        return self._peer is not None

    def send(self, data: bytes) -> None:
        """Type `data` at the port; dropped if QEMU is not connected or goes away meanwhile."""
        peer = self._peer
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.sendall(data)

    def close(self) -> None:
        """End the connection and stop listening; call once."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._listener.close()
        os.close(self._stop)

    def _pump(self) -> None:
        select.select([self._listener.fileno(), self._stop], [], [])
        self._listener.setblocking(False)
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        self._peer = peer
        with peer:
            peer.setblocking(True)
            while True:
                readable, _, _ = select.select([peer.fileno(), self._stop], [], [])
                if peer.fileno() not in readable:
                    break
                try:
                    data = peer.recv(_CHUNK)
                except OSError:
                    data = b""
                if not data:
                    break
                try:
                    self._on_data(data)
                except Exception as error:
                    self._peer = None
                    self._failed(error)
                    return
            self._peer = None
        self._ended()
