# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's memory out of a QEMU whose guest has ended the machine, over QMP; monitor/gcov.py reads it.

Xen gives its coverage counters to a dom0 that asks for them with
XEN_SYSCTL_coverage_op. Here the counters are read out of the machine's memory
instead, after the guest has ended and before QEMU exits: no guest has to help,
so the same works for 32-bit guests and for tests that end in a panic, and
nothing is added to the calls that are measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qemu.qmp import EventListener, QMPClient, QMPError

from harness.monitor.gcov import RWDATA, symbols

# Seconds that QEMU may take to save the memory and to exit, once it is no longer waited for.
PATIENCE = 10.0


class Rescue:
    """Saves Xen's memory when its guest has ended the machine.

    Args:
        syms: ``xen-syms`` of the build.
        dest: file for the memory.

    Attributes:
        problem: why the memory was not saved; empty if it was.
    """

    def __init__(self, *, syms: Path, dest: Path) -> None:
        self._symbols = symbols(syms, RWDATA)
        self._dest = dest
        self.problem = "nothing was booted"

    @contextmanager
    def beside(self, folder: Path) -> Iterator[list[str]]:
        """Arguments for a QEMU that runs inside ``folder``; after the block ``problem`` is valid."""
        problem = "QEMU: it did not save its memory in time"
        listening = threading.Event()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._talk(folder, listening))

        def run() -> None:
            nonlocal problem
            try:
                loop.run_until_complete(task)
                problem = ""
            except asyncio.CancelledError:
                problem = "QEMU: it never came to the monitor"
            except (OSError, EOFError, ValueError, QMPError) as error:
                problem = f"QEMU: {error}"
            finally:
                listening.set()
                loop.close()

        thread = threading.Thread(target=run, name="coverage", daemon=True)
        thread.start()
        listening.wait(PATIENCE)
        try:
            yield ["-chardev", "socket,id=qmp,path=qmp", "-mon", "chardev=qmp,mode=control", "-no-shutdown"]
        finally:
            # QEMU is gone by now: what it has not said in a moment never comes.
            thread.join(1)
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(task.cancel)
            thread.join(PATIENCE)
        self.problem = problem
        if not problem:
            shutil.move(folder / "memory", self._dest)

    async def _talk(self, folder: Path, listening: threading.Event) -> None:
        """Wait for the guest's end, save the memory, let QEMU exit.

        Raises:
            ValueError: there is no memory to be had. QMPError: QEMU refused, or went away.
        """
        client = QMPClient("coverage")
        handle = os.open(folder, os.O_RDONLY)
        try:
            # A socket's name has 107 bytes; a folder's may have more.
            await client.start_server(f"/proc/self/fd/{handle}/qmp")
        finally:
            os.close(handle)
        with client.listener("SHUTDOWN") as shutdown:
            listening.set()
            await client.accept()
            try:
                await self._save(client, shutdown)
            finally:
                with contextlib.suppress(QMPError, EOFError, OSError):
                    await client.disconnect()

    async def _save(self, client: QMPClient, shutdown: EventListener) -> None:
        ended = asyncio.ensure_future(shutdown.get())
        left = asyncio.ensure_future(client.runstate_changed())
        await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not ended.done():
            ended.cancel()
            raise ValueError("it closed its monitor")
        first, last = (self._symbols[name] for name in RWDATA)
        try:
            await self._save_at(client, first, last - first)
        finally:
            # -no-shutdown keeps QEMU there until it is told.
            await client.execute("quit")

    @staticmethod
    async def _save_at(client: QMPClient, address: int, size: int) -> None:
        # Xen's image lies in one piece of memory, at an address that it chose as it booted. Part of it is no
        # longer mapped (ebmalloc_mem), so it is saved by that address and not by Xen's own.
        where = str(await client.execute("human-monitor-command", {"command-line": f"gva2gpa {address:#x}"}))
        found = re.match(r"gpa: (0x[0-9a-f]+)", where)
        if not found:
            raise ValueError(f"Xen is not where it was: {where.strip()}")
        await client.execute("pmemsave", {"val": int(found[1], 16), "size": size, "filename": "memory"})
