# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0 is ready when its init has ended well, and a console that is silent is no hang of dom0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.machine import ready
from harness.machine.ssh import Completed
from harness.monitor.consoles import Consoles
from harness.monitor.waits import TimedOut, Watchdog

HEALTHY = Completed(rc=0, out="", err="")


def dom0(connect: Callable[[], object], answer: Callable[[], Completed] = lambda: HEALTHY) -> Any:
    asked: list[str] = []

    def run(command: str, *, timeout: float, check: bool = True) -> Completed:
        asked.append(command)
        return answer()

    return SimpleNamespace(connect=lambda *, timeout: connect(), run=run, asked=asked)


def unreachable() -> None:
    raise TimedOut("no answer")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "QUIET", 0.05)
    monkeypatch.setattr(ready, "TOTAL", 1.0)


@pytest.fixture
def consoles(tmp_path: Path) -> Consoles:
    return Consoles(tmp_path)


def test_its_line_on_the_console_is_enough_if_its_init_ended_well(consoles: Consoles) -> None:
    consoles.feed(Consoles.SERIAL, b"(XEN) up\nLinux version 6.12\nevh: dom0 ready\n")
    machine = dom0(lambda: None)
    assert ready.wait_dom0(consoles, machine, watchdog=Watchdog()) == ""
    assert machine.asked == ["test -e /run/evh/done || exit 3; cat /run/evh/failures"]


def test_dom0_that_answers_is_ready_though_its_console_is_silent(consoles: Consoles) -> None:
    consoles.feed(Consoles.SERIAL, b"(XEN) uart interrupt taking more than 4ms, swit")
    why = ready.wait_dom0(consoles, dom0(lambda: None), watchdog=Watchdog())
    assert "answers over SSH" in why and "did not arrive" in why


def test_dom0_whose_init_has_not_ended_is_not_ready(consoles: Consoles) -> None:
    answers = iter([Completed(rc=3, out="", err=""), HEALTHY, HEALTHY])
    machine = dom0(lambda: None, lambda: next(answers))
    assert ready.wait_dom0(consoles, machine, watchdog=Watchdog())
    assert len(machine.asked) == 3


def test_dom0_that_neither_prints_nor_answers_hangs(consoles: Consoles) -> None:
    with pytest.raises(TimedOut, match='dom0\'s "evh: dom0 ready"'):
        ready.wait_dom0(consoles, dom0(unreachable), watchdog=Watchdog())


@pytest.mark.parametrize("line", [b"evh: dom0 not ready\n", b""])
def test_init_that_failed_is_told_with_each_step(consoles: Consoles, line: bytes) -> None:
    consoles.feed(Consoles.SERIAL, b"(XEN) up\n" + line)
    failed = Completed(rc=0, out="failed (1): xen-init-dom0\nno eth0\n", err="")
    with pytest.raises(ready.Unhealthy, match=r"failed \(1\): xen-init-dom0; no eth0") as caught:
        ready.wait_dom0(consoles, dom0(lambda: None, lambda: failed), watchdog=Watchdog())
    assert caught.value.layer == "dom0"


def test_init_says_what_is_waited_for() -> None:
    init = (Path(__file__).parents[3] / "images/dom0/init").read_text()
    assert 'say "dom0 ready"' in init and 'say "dom0 not ready"' in init
    assert "health=/run/evh\n" in init and '>"$health/failures"' in init and '>"$health/done"' in init
