# SPDX-License-Identifier: GPL-2.0-or-later
"""Line coverage of Xen's event channel code: gcov's counters out of a machine that has ended.

Xen hands its counters out by XEN_SYSCTL_coverage_op, to a dom0 that asks.
Here they are read out of the machine's memory instead, after the guest has
ended it and before QEMU goes: no guest has to help, so the same works for
32-bit ones, for tests that end in a panic, and adds no call to what is
measured. What Xen's common/coverage/gcc_4_7.c knows of gcc's structures is
here a second time for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.monitor.gcov import RWDATA, symbols


class Rescue:
    """Takes Xen's memory out of a QEMU when its guest has ended the machine.

    Args:
        syms: ``xen-syms`` of the build.
        dest: file for the memory.

    Attributes:
        problem: why there is none; empty if there is.
    """

    def __init__(self, *, syms: Path, dest: Path) -> None:
        self._symbols = symbols(syms, RWDATA)
        self._dest = dest
        self.problem = "nothing was booted"

    @contextmanager
    def beside(self, folder: Path) -> Iterator[list[str]]:
        """Words for QEMU's command line, which is to run inside ``folder``; then ``problem`` is valid."""
        listener = socket.socket(socket.AF_UNIX)
        handle = os.open(folder, os.O_RDONLY)
        try:
            # A socket's name has 107 bytes; a folder's may have more.
            listener.bind(f"/proc/self/fd/{handle}/qmp")
        finally:
            os.close(handle)
        listener.listen(1)
        problems: list[str] = []

        def talk() -> None:
            try:
                connection, _ = listener.accept()
                with connection, connection.makefile("rw") as monitor:
                    problems.extend(self._take(monitor))
            except (OSError, ValueError) as error:
                problems.append(f"QEMU: {error}")

        thread = threading.Thread(target=talk, name="coverage", daemon=True)
        thread.start()
        try:
            yield ["-chardev", "socket,id=qmp,path=qmp", "-mon", "chardev=qmp,mode=control", "-no-shutdown"]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # if nobody ever came
            thread.join(10)
            listener.close()
        self.problem = problems[0] if problems else ""
        if not problems:
            shutil.move(folder / "memory", self._dest)

    def _take(self, monitor: Any) -> list[str]:
        """Wait for the end, save the memory, let QEMU go; what went wrong."""
        first, last = (self._symbols[name] for name in RWDATA)

        def ask(command: str, **arguments: object) -> str:
            monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            monitor.flush()
            for line in monitor:
                answer = json.loads(line)
                if "error" in answer:
                    raise ValueError(answer["error"]["desc"])
                if "return" in answer:
                    return str(answer["return"])
            raise ValueError("it closed its monitor")

        monitor.readline()  # its greeting
        ask("qmp_capabilities")
        if not any(json.loads(line).get("event") == "SHUTDOWN" for line in monitor):
            return ["it closed its monitor"]
        # Xen's image lies in one piece of memory, at an address that it chose as it booted. Part of it is not
        # mapped any more (ebmalloc_mem), so by that address and not by Xen's own.
        where = ask("human-monitor-command", **{"command-line": f"gva2gpa {first:#x}"})
        found = re.match(r"gpa: (0x[0-9a-f]+)", where)
        if not found:
            return [f"Xen is not where it was: {where.strip()}"]
        ask("pmemsave", val=int(found[1], 16), size=last - first, filename="memory")
        ask("quit")
        return []

