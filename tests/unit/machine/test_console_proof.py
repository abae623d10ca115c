# SPDX-License-Identifier: GPL-2.0-or-later
"""A console that does not show what a kernel is told to print is not trusted."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.records import Verdict
from harness.machine import console_proof
from harness.monitor.consoles import Consoles
from harness.monitor.waits import ConsoleLost, MachineDied, Watchdog


def shell(say: Callable[[str], object], watchdog: Watchdog) -> SimpleNamespace:
    """A kernel that prints what is written to /dev/kmsg by `say`."""

    def run(command: str, *, timeout: float) -> None:
        assert command.startswith("echo '<4>") and command.endswith("' > /dev/kmsg")
        say(command.removeprefix("echo '<4>").removesuffix("' > /dev/kmsg"))

    return SimpleNamespace(run=run, watchdog=watchdog)


def test_lines_that_arrive_prove_their_consoles(tmp_path: Path) -> None:
    consoles, watchdog = Consoles(tmp_path), Watchdog()
    consoles.feed(Consoles.SERIAL, b"(XEN) up\n")
    dom0 = shell(lambda line: consoles.feed(Consoles.SERIAL, f"[ 9.0] {line}\n".encode()), watchdog)
    guest = shell(lambda line: consoles.feed("guest:a", f"[ 9.0] {line}\n".encode()), watchdog)
    console_proof.prove(consoles, {"guest:a": guest, "dom0": dom0})  # type: ignore[dict-item]
    console_proof.prove(consoles, {})


@pytest.mark.parametrize("elsewhere", ["guest:b", ""])
def test_a_line_that_does_not_arrive_on_its_console_is_an_error_of_the_harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    monkeypatch.setattr(console_proof, "DEADLINE", 0.1)
    consoles = Consoles(tmp_path)
    guest = shell(
        lambda line: elsewhere and consoles.feed(elsewhere, f"{line}\n".encode()), Watchdog()
    )
    with pytest.raises(ConsoleLost) as caught:
        console_proof.prove(consoles, {"guest:a": guest})  # type: ignore[dict-item]
    assert (caught.value.verdict, caught.value.layer) == (Verdict.ERROR, "guest:a")
    assert "guest:a is not recorded any more" in caught.value.message


def test_a_machine_that_dies_meanwhile_is_that_and_no_lost_console(tmp_path: Path) -> None:
    watchdog = Watchdog()
    guest = shell(lambda line: watchdog.lose(lambda: MachineDied("QEMU ended")), watchdog)
    with pytest.raises(MachineDied):
        console_proof.prove(Consoles(tmp_path), {"dom0": guest})  # type: ignore[dict-item]
