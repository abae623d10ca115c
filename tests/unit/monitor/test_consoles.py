# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles: merged and watched, on streams recorded from real machines."""

import re
import threading
from pathlib import Path

import pytest
from fakes import HANDED_OVER

from harness.monitor.consoles import Consoles
from harness.monitor.waits import Crash, MachineCrashed, Watchdog

LOGS = Path(__file__).parents[1] / "logs"


def test_an_early_panic_of_a_guest_is_the_guests(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    consoles.feed(Consoles.SERIAL, HANDED_OVER + b"(d7) [ 0.1] Kernel panic - not syncing: early\n")
    crash = consoles.find_crash()
    assert crash is not None and crash.layer == "dom7"
    consoles.name_domain(7, "guest:a")
    crash = consoles.find_crash("guest:a")
    assert crash is not None and "early" in crash.line
    assert consoles.find_crash("dom0") is None
    assert b"early" in (tmp_path / "console-dom7.log").read_bytes()


def test_recorded_boot_keeps_every_byte_and_has_no_crash(tmp_path: Path) -> None:
    stream = (LOGS / "serial-boot.raw").read_bytes()
    consoles = Consoles(tmp_path)
    for at in range(0, len(stream), 16):  # the size of the port's FIFO
        consoles.feed(Consoles.SERIAL, stream[at : at + 16])
    consoles.close()
    xen = (tmp_path / "console-xen.log").read_bytes()
    dom0 = (tmp_path / "console-dom0.log").read_bytes()
    assert (tmp_path / "serial.raw").read_bytes() == stream
    assert len(xen) + len(dom0) == len(stream)
    assert b"(XEN)" not in dom0
    assert b"evh: dom0 ready" in dom0
    first = dom0.index(b"Linux version")
    assert b"Linux version" not in xen and first < 200
    assert consoles.find_crash() is None


def test_merged_log_has_time_and_layer(tmp_path: Path) -> None:
    now = [100.0]
    consoles = Consoles(tmp_path, clock=lambda: now[0])
    now[0] = 101.5
    consoles.feed("guest:a", b"begun")
    now[0] = 109.0
    consoles.feed("guest:a", b" and ended\r\nnext\n")
    consoles.close()
    assert (tmp_path / "consoles.log").read_text() == (
        "[    1.500] guest:a: begun and ended\n[    9.000] guest:a: next\n"
    )
    assert (tmp_path / "console-guest-a.log").read_bytes() == b"begun and ended\r\nnext\n"


@pytest.mark.parametrize(
    ("log", "layer", "line"),
    [
        ("serial-xen-panic.raw", "xen", "Panic on CPU"),
        ("serial-dom0-panic.raw", "dom0", "Kernel panic - not syncing: sysrq triggered crash"),
    ],
)
def test_recorded_crash_is_found_and_blamed(
    tmp_path: Path, log: str, layer: str, line: str
) -> None:
    seen: list[Crash] = []
    consoles = Consoles(tmp_path, on_crash=seen.append)
    consoles.feed(Consoles.SERIAL, (LOGS / log).read_bytes())
    consoles.close()
    crash = consoles.find_crash()
    assert crash is not None
    assert crash.layer == layer == seen[0].layer
    assert line in crash.line
    assert line in crash.excerpt
    assert len(crash.excerpt.splitlines()) > 5


def test_crash_in_a_line_without_end_is_found_when_qemu_dies(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    consoles.feed(Consoles.SERIAL, HANDED_OVER + b"[ 1.0] Kernel panic - not syncing: x")
    assert consoles.find_crash() is None
    consoles.end(Consoles.SERIAL)
    crash = consoles.find_crash()
    assert crash is not None and crash.layer == "dom0"


def test_an_expected_crash_is_ignored_once(tmp_path: Path) -> None:
    panic = b"[ 1.0] Kernel panic - not syncing: sysrq triggered crash\n"
    seen: list[Crash] = []
    consoles = Consoles(tmp_path, on_crash=seen.append)
    with consoles.expect_crash("guest:a", "sysrq triggered crash"):
        consoles.feed("guest:a", panic)
        assert consoles.find_crash() is None and not seen
        consoles.feed("guest:b", panic)
        assert [crash.layer for crash in seen] == ["guest:b"], "another guest's crash is not expected"
        consoles.feed("guest:a", panic)
        assert [crash.layer for crash in seen] == ["guest:b", "guest:a"], "a second crash is not expected"
    with consoles.expect_crash("guest:a", "sysrq triggered crash"):
        consoles.feed("guest:c", panic)
        assert len(seen) == 3
    consoles.end("guest:a")
    consoles.feed("guest:a", panic)
    assert len(seen) == 4, "a crash after the block is not expected"
    consoles.close()


def test_xens_message_about_a_guest_is_the_guests_crash(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    consoles.name_domain(7, "guest:b")
    consoles.feed(Consoles.SERIAL, b"(XEN) Domain 7 (vcpu#1) crashed on cpu#0:\n")
    crash = consoles.find_crash()
    assert crash is not None and crash.layer == "guest:b"
    assert consoles.find_crash("xen") is None
    assert consoles.find_crash(since=consoles.next_number) is None


def test_guest_may_crash_before_its_number_is_known(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    consoles.feed(Consoles.SERIAL, b"(XEN) d9v0 Triple fault - invoking HVM shutdown action 1\n")
    assert consoles.find_crash("guest:c") is None
    consoles.name_domain(9, "guest:c")
    crash = consoles.find_crash("guest:c")
    assert crash is not None and crash.layer == "guest:c"


def test_wait_line_searches_earlier_lines_too(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    consoles.feed("guest:a", b"evh: guest ready\n")
    line = consoles.wait_line("^evh: guest ready", watchdog=Watchdog(), what="it", total=5)
    assert line.layer == "guest:a"


def test_wait_line_ends_at_once_on_a_crash(tmp_path: Path) -> None:
    watchdog = Watchdog()

    def on_crash(crash):  # type: ignore[no-untyped-def]
        watchdog.lose(lambda: MachineCrashed("it crashed", crash=crash))

    consoles = Consoles(tmp_path, on_crash=on_crash)
    timer = threading.Timer(0.2, consoles.feed, ("dom0", b"BUG: unable to handle page fault\n"))
    timer.start()
    with pytest.raises(MachineCrashed, match="it crashed"):
        consoles.wait_line("never", watchdog=watchdog, what="it", total=60)


def test_a_line_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    for byte in b"evh: dom0 ready\n":
        consoles.feed("dom0", bytes([byte]))
    assert [line.text for line in consoles.lines()] == ["evh: dom0 ready"]
    assert re.search("ready", consoles.tail("dom0"))


def test_settling_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    consoles = Consoles(tmp_path)
    consoles.feed(Consoles.SERIAL, b"(XEN) Panic on CPU 0:\n")

    def rest() -> None:
        for piece in (b"(XEN) FATAL", b" TRAP: vec 2\n"):
            threading.Event().wait(0.05)
            consoles.feed(Consoles.SERIAL, piece)

    thread = threading.Thread(target=rest)
    thread.start()
    consoles.settle(quiet=0.5, most=5)
    heard = consoles.tail("xen", 3)
    thread.join()
    consoles.close()
    assert "FATAL TRAP: vec 2" in heard


def test_consoles_of_a_restored_machine_begin_with_those_that_were_saved(tmp_path: Path) -> None:
    """Byte for byte, wherever the first one stopped: in a line, in Xen's mark, in a crash."""
    stream = (LOGS / "serial-dom0-panic.raw").read_bytes()
    whole = Consoles(tmp_path_of(tmp_path, "whole"))
    whole.feed(Consoles.SERIAL, stream)
    whole.close()
    names = ("serial.raw", "console-xen.log", "console-dom0.log")
    for at in range(0, len(stream), max(1, len(stream) // 40)):
        first = Consoles(tmp_path_of(tmp_path, f"first-{at}"))
        first.feed(Consoles.SERIAL, stream[:at])
        second = Consoles(tmp_path_of(tmp_path, f"second-{at}"))
        second.replay(first.past())
        second.feed(Consoles.SERIAL, stream[at:])
        first.close()
        second.close()
        for name in names:
            assert (second.run_dir / name).read_bytes() == (whole.run_dir / name).read_bytes(), (at, name)
        crash, want = second.find_crash(), whole.find_crash()
        assert crash is not None and want is not None
        assert (crash.layer, crash.line) == (want.layer, want.line), at
        assert "restored from a snapshot" in (second.run_dir / "consoles.log").read_text()


def test_crash_before_the_save_is_one_of_the_restored_machine(tmp_path: Path) -> None:
    seen: list[Crash] = []
    consoles = Consoles(tmp_path, on_crash=seen.append)
    consoles.replay((LOGS / "serial-xen-panic.raw").read_bytes())
    crash = consoles.find_crash()
    assert crash is not None and crash.layer == "xen"
    assert [one.layer for one in seen][:1] == ["xen"]


def test_past_of_a_folder_that_is_used_again_is_its_second_users(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        consoles = Consoles(tmp_path)
        consoles.feed(Consoles.SERIAL, text)
        assert consoles.past() == text
        consoles.close()


def tmp_path_of(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
