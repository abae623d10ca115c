# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without its machine: addresses, files copied to dom0, and what xl's log tells of its end."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import InfraError, UserError
from harness.core.layout import NETWORK
from harness.core.records import GuestSpec
from harness.guest.guest import Guest, copy_to_dom0
from harness.machine.ssh import Completed
from harness.monitor.consoles import Consoles
from harness.monitor.waits import GuestEnded, MachineCrashed, Watchdog


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    watchdog = Watchdog()
    watchdog.time_scale = 0.01
    return SimpleNamespace(
        consoles=Consoles(tmp_path), run_dir=tmp_path, watchdog=watchdog, guests={}, keys=None, dom0=None
    )


def guest(machine: Any, name: str = "a", **words: Any) -> Guest:
    """A guest that is there, though nobody has started it."""
    its = Guest(machine, GuestSpec(name=name, kind="pv64", **words))
    machine.guests[name] = its
    return its


def test_each_guest_has_an_address_of_its_own_and_a_free_one_is_given_again(machine: Any) -> None:
    addresses = [guest(machine, name).address for name in "abc"]
    assert addresses == ["192.168.77.10", "192.168.77.11", "192.168.77.12"]
    machine.guests["b"].forget()
    assert guest(machine, "d").address == "192.168.77.11"


def test_no_free_address_is_an_error(machine: Any) -> None:
    taken = (SimpleNamespace(address=str(host)) for host in NETWORK.hosts())
    machine.guests = dict(enumerate(taken))
    with pytest.raises(InfraError, match="no free address left in 192"):
        Guest(machine, GuestSpec(name="a", kind="pv64"))


def test_name_of_a_running_guest_is_refused(machine: Any) -> None:
    guest(machine)
    with pytest.raises(UserError, match="'a' is already running"):
        Guest(machine, GuestSpec(name="a", kind="pv64")).start()


@pytest.mark.parametrize("network", [True, False])
def test_guest_without_a_network_is_there_when_its_console_says_so(
    machine: Any, monkeypatch: pytest.MonkeyPatch, network: bool
) -> None:
    its = Guest(machine, GuestSpec(name="a", kind="pv64", network=network))
    log: list[str] = []
    monkeypatch.setattr(its, "_config", lambda: "")
    monkeypatch.setattr(its, "_follow", lambda: None)
    monkeypatch.setattr(its, "_create", lambda config: log.append("create"))
    monkeypatch.setattr(its, "wait_ready", lambda since: log.append("ready"))
    ssh = SimpleNamespace(
        connect=lambda timeout: log.append("connect"), run=lambda command, timeout: log.append(command)
    )
    monkeypatch.setattr(its, "ssh", ssh)
    its.start()
    assert log == ["create", "ready", *(["connect", "true"] if network else [])]
    assert its.start_seconds == its.timings["ssh" if network else "ready"]


SHUT_DOWN = b"Waiting for domain a\nDomain 3 has shut down, reason code %d 0x%x\n"


@pytest.mark.parametrize(
    ("reason", "on_reboot", "loss"),
    [
        (0, "destroy", GuestEnded),
        (1, "destroy", GuestEnded),
        (1, "restart", None),
        (2, "destroy", None),
        (3, "destroy", MachineCrashed),
        (5, "destroy", None),
    ],
    ids=["poweroff", "reboot", "reboot and restart", "suspend", "crash", "soft reset"],
)
def test_end_of_a_guest_is_in_xls_log(
    machine: Any, reason: int, on_reboot: str, loss: type[Exception] | None
) -> None:
    its = guest(machine, on_reboot=on_reboot)
    text = SHUT_DOWN % (reason, reason)
    its._on_xl_log(text[:30])
    its._on_xl_log(text[30:])
    assert its.watchdog.lost is (loss is not None)
    if loss:
        with pytest.raises(loss):
            its.watchdog.check()
    assert not machine.watchdog.lost


def test_end_of_a_guest_that_is_being_destroyed_is_no_loss(machine: Any) -> None:
    its = guest(machine)
    its.destroy()
    its._on_xl_log(SHUT_DOWN % (3, 3))
    assert not its.watchdog.lost
    assert machine.guests == {}


@pytest.mark.parametrize("there", [True, False])
def test_file_is_copied_to_dom0_once(tmp_path: Path, there: bool) -> None:
    commands: list[str] = []
    copied: dict[str, bytes] = {}

    def run(command: str, *, timeout: float, check: bool = True) -> Completed:
        commands.append(command)
        return Completed(rc=0 if there else 1, out="", err="")

    dom0: Any = SimpleNamespace(run=run, put=lambda data, path: copied.update({path: data}))
    file = tmp_path / ("0123456789abcdef" * 2) / "bzImage"
    file.parent.mkdir()
    file.write_bytes(b"kernel")
    path = copy_to_dom0(dom0, file)
    assert path == "/var/lib/evh/0123456789abcdef-bzImage"
    assert commands[0] == f"test -e {path}"
    assert copied == ({} if there else {path: b"kernel"})


def test_guests_come_and_go_and_leave_no_descriptor_open(machine: Any) -> None:
    def descriptors() -> int:
        gc.collect()  # what other tests have left
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(50):
        its = guest(machine)
        its.forget()
    assert descriptors() == before
    its.forget()  # a second time does nothing
    its.watchdog.lose(lambda: GuestEnded("it ended"))
    with pytest.raises(GuestEnded):
        its.watchdog.check()
