# SPDX-License-Identifier: GPL-2.0-or-later
"""What only QEMU itself can do: forward a port, write a machine's memory to a file, read it back.

libvirt passes the commands on to QEMU's monitor.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.core.errors import InfraError
from harness.machine.domain import NET_ALIAS
from harness.machine.hypervisor import libvirt, libvirt_qemu
from harness.monitor.waits import Watchdog, wait

# Seconds at reference speed to write or read a machine's memory; it takes one.
DEADLINE = 60.0
# QEMU has `file:` since 8.2 and mapped-ram since 9.0 (qapi/migration.json).
OLDEST = (9, 0)


class Monitor:
    """QEMU's monitor.

    Args:
        domain: libvirt's.
        watchdog: of the machine; explains why QEMU does not answer.
    """

    def __init__(self, domain: Any, watchdog: Watchdog) -> None:
        self._domain = domain
        self._watchdog = watchdog

    def human(self, command: str) -> str:
        """Run a command for humans (HMP); returns what it prints.

        Raises: MachineLost; InfraError: QEMU does not answer.
        """
        flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        with self._explained():
            return str(libvirt_qemu.qemuMonitorCommand(self._domain, command, flags))

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command; returns its result. Underscores in names stand for dashes.

        Raises: MachineLost; InfraError: QEMU refuses the command, or does not answer.
        """
        words = {name.replace("_", "-"): value for name, value in arguments.items()}
        text = json.dumps({"execute": command, "arguments": words})
        with self._explained():
            reply = json.loads(libvirt_qemu.qemuMonitorCommand(self._domain, text, 0))
        if "error" in reply:
            raise InfraError(f"QEMU refuses {command}: {reply['error'].get('desc', reply['error'])}")
        return reply.get("return")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except libvirt.libvirtError as error:
            self._watchdog.check()
            raise InfraError(f"QEMU's monitor does not answer: {error}") from error

    def forward_ssh(self) -> int:
        """Forward a free port of 127.0.0.1 to dom0's SSH server; returns the port.

        The host's kernel chooses the port (0), so two machines cannot compete for one.
        """
        reply = self.human(f"hostfwd_add host{NET_ALIAS} tcp:127.0.0.1:0-:22")
        table = self.human("info usernet")
        port = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s", table)
        if not port:
            raise InfraError(f"QEMU forwards no port: {reply.strip() or table.strip()}")
        return int(port.group(1))

    def save(self, file: Path) -> None:
        """Write memory and devices of a machine that is stopped; zero pages stay holes in the file.

        Its disks are complete in their files afterwards, until it goes on.

        Raises: MachineLost; InfraError: QEMU cannot.
        """
        self._map_memory()
        self.execute("migrate-set-parameters", max_bandwidth=1 << 40)  # it would keep to 128 MiB/s
        self.execute("migrate", uri=f"file:{file}")
        self._wait_migrated(f"QEMU to write {file}")

    def load(self, file: Path) -> None:
        """Read what ``save`` wrote; QEMU was started to wait for it, and the machine stays stopped.

        Raises: MachineLost; InfraError: QEMU cannot.
        """
        self._map_memory()
        self.execute("migrate-incoming", uri=f"file:{file}")
        self._wait_migrated(f"QEMU to read {file}")

    def _map_memory(self) -> None:
        """Give each page a fixed place in the file, so that reading it back is quick and holes stay holes."""
        mapped = {"capability": "mapped-ram", "state": True}
        self.execute("migrate-set-capabilities", capabilities=[mapped])

    def _wait_migrated(self, what: str) -> None:
        def done(seconds: float) -> bool | None:
            now = self.execute("query-migrate")
            if now.get("status") in ("failed", "cancelled"):
                why = now.get("error-desc", now["status"])
                raise InfraError(f"{what.replace(' to ', ' cannot ', 1)}: {why}")
            if now.get("status") == "completed":
                return True
            with contextlib.suppress(OSError):
                self._watchdog.poll(None, min(0.01, seconds))
            return None

        wait(done, watchdog=self._watchdog, what=what, total=DEADLINE)
