# SPDX-License-Identifier: GPL-2.0-or-later
"""Which layer hangs, and what is asked for the report; the consoles are real."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.machine.attribution import _ask_dom0, hung_dom0, hung_guest
from harness.machine.ssh import Completed
from harness.monitor.consoles import Consoles
from harness.monitor.waits import Hung, MachineDied, TimedOut, Watchdog


class Machine:
    """Its dom0 answers with ``dom0_says``; Xen prints a line for each key, unless it hangs."""

    def __init__(self, folder: Path, *, dom0_says: Exception | None = None, xen_hangs: bool = False) -> None:
        self.run_dir = folder
        self.watchdog = Watchdog()
        self.watchdog.time_scale = 0.01
        self.consoles = Consoles(folder)
        self.guests = {"a": SimpleNamespace(domid=3)}
        self.said: list[str] = []
        self.asked: list[str] = []
        self.keys = ""
        self.gone = ""  # daemons of the toolstack that have ended
        self.progress = SimpleNamespace(say=self.said.append)
        self.dom0: Any = SimpleNamespace(run=self.run)
        self._dom0_says, self._xen_hangs = dom0_says, xen_hangs

    def run(self, command: str, *, timeout: float, check: bool = True) -> Completed:
        self.asked.append(command)
        if self._dom0_says:
            raise self._dom0_says
        if "xenstored" in command and not command.startswith("timeout "):
            return Completed(rc=0, out=self.gone, err="")
        return Completed(rc=1, out="half of it\n", err="no such file\n")

    def xen_keys(self, keys: str) -> None:
        self.keys += keys
        if not self._xen_hangs:
            self.consoles.feed(Consoles.SERIAL, f"(XEN) '{keys}' pressed\n".encode())

    def report(self) -> str:
        (file,) = self.run_dir.glob("hang-*")
        return file.read_text()


def test_guest_hangs_if_dom0_answers(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert hung_guest(machine, "guest:a") == Hung(layer="guest:a")
    assert all(command.startswith("timeout ") for command in machine.asked[1:])
    assert any("--domid=3" in command for command in machine.asked)
    assert machine.keys == "eqr"
    assert "(XEN) 'q' pressed" in machine.report()
    assert "half of it\n(xl list: status 1 no such file)" in machine.report()
    assert "guest:a hangs" in machine.said[0]


def test_commands_for_the_report_have_the_time_of_this_host(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.watchdog.time_scale = 2.5
    _ask_dom0(machine, "xl list")
    assert machine.asked == ["timeout 50 sh -c 'xl list'"]


@pytest.mark.parametrize("found", ["xen", ""])
def test_dom0_hangs_if_it_does_not_answer_unless_its_own_wait_blames_xen(
    tmp_path: Path, found: str
) -> None:
    silent = TimedOut("no answer")
    silent.layer = found
    assert hung_guest(Machine(tmp_path, dom0_says=silent), "guest:a") == Hung(layer=found or "dom0")
    assert not list(tmp_path.glob("hang-*")), "the report of dom0's hang comes from dom0's own wait"


def test_nobody_hangs_in_a_machine_that_is_lost(tmp_path: Path) -> None:
    machine = Machine(tmp_path, dom0_says=MachineDied("QEMU ended"), xen_hangs=True)
    assert hung_guest(machine, "guest:a") == Hung()
    machine.watchdog.lose(lambda: MachineDied("QEMU ended"))
    assert hung_dom0(machine) == Hung()
    assert not list(tmp_path.glob("hang-*"))


def test_dom0_hangs_if_xen_answers_and_is_asked_last(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert hung_dom0(machine) == Hung(layer="dom0", why="dom0 answers another command")
    assert len(machine.asked) == 1
    assert machine.keys == "heqr0d"
    assert "(XEN) '0' pressed" in machine.report()
    silent = Machine(tmp_path, dom0_says=TimedOut("no answer"))
    assert hung_dom0(silent) == Hung(layer="dom0")


def test_a_daemon_that_has_ended_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.gone = "xenstored\nxenconsoled\n"
    why = "xenstored and xenconsoled of dom0 ended"
    assert hung_guest(machine, "guest:a") == Hung(layer="dom0", why=why)
    assert hung_dom0(machine) == Hung(layer="dom0", why=why)


def test_xen_hangs_if_it_does_not_answer_its_keys(tmp_path: Path) -> None:
    assert hung_dom0(Machine(tmp_path, xen_hangs=True)) == Hung(layer="xen")
