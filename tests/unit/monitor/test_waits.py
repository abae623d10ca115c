# SPDX-License-Identifier: GPL-2.0-or-later
"""A wait ends at the first of four events; the tests set the clock."""

import ast
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.paths import CHECKOUT
from harness.core.records import Verdict
from harness.monitor.waits import (
    Crash,
    GuestEnded,
    Hung,
    MachineCrashed,
    MachineDied,
    Silence,
    TimedOut,
    Watchdog,
    time_scale_of,
    wait,
    watching,
)


class World:
    """A fake clock, and the events that happen at given seconds."""

    def __init__(self, events: dict[float, Callable[[], object]] | None = None) -> None:
        self.now = 0.0
        self.heard = 0.0
        self.got: str | None = None
        self.events = dict(events or {})
        self.watchdog = Watchdog(clock=lambda: self.now)

    def answer(self, seconds: float) -> str | None:
        due = [at for at in self.events if at <= self.now + seconds]
        if not due:
            self.now += seconds
            return None
        self.now = max(self.now, min(due))
        self.events.pop(min(due))()
        return self.got

    def wait(self, *, total: float, silence: float | None = None) -> str:
        return wait(
            self.answer,
            watchdog=self.watchdog,
            what="the answer",
            total=total,
            silence=silence,
            last_output=lambda: self.heard,
        )

    def give(self) -> None:
        self.got = "yes"

    def sound(self) -> None:
        self.heard = self.now

    def crash(self) -> None:
        crash = Crash(layer="xen", line="Panic on CPU 0:", seconds=self.now)
        self.watchdog.lose(lambda: MachineCrashed("xen crashed", crash=crash))


def test_answer() -> None:
    world = World()
    world.events = {3.0: world.give}
    assert world.wait(total=10) == "yes"
    assert world.now == 3.0


def test_total_deadline() -> None:
    world = World()
    world.events = {11.0: world.give}
    with pytest.raises(TimedOut, match="no answer for 10 s while waiting for the answer") as caught:
        world.wait(total=10)
    assert world.now == 10.0
    assert caught.value.verdict is Verdict.HANG
    assert not isinstance(caught.value, Silence)


def test_silence_is_counted_from_the_last_output() -> None:
    world = World()
    world.events = {2.0: world.sound, 4.0: world.sound}
    with pytest.raises(Silence):
        world.wait(total=100, silence=3)
    assert world.now == 7.0


def test_sounds_do_not_move_the_total_deadline() -> None:
    world = World()
    world.events = {float(at): world.sound for at in range(1, 20)}
    with pytest.raises(TimedOut) as caught:
        world.wait(total=10, silence=3)
    assert world.now == 10.0
    assert not isinstance(caught.value, Silence)


def test_time_scale_stretches_both_deadlines_and_is_reported() -> None:
    world = World()
    world.watchdog.time_scale = 4.0
    with pytest.raises(Silence, match=r"12 s \(3 s at reference speed, times 4.0"):
        world.wait(total=100, silence=3)
    assert world.now == 12.0


def test_crash_ends_the_wait_before_the_answer() -> None:
    world = World()
    world.events = {1.0: world.crash, 2.0: world.give}
    with pytest.raises(MachineCrashed) as caught:
        world.wait(total=10)
    assert world.now == 1.0
    assert caught.value.layer == "xen"
    assert caught.value.verdict is Verdict.CRASH


def test_the_first_loss_ends_every_later_wait() -> None:
    world = World()
    world.crash()
    assert world.watchdog.lose(lambda: MachineDied("QEMU ended")) is False
    for _ in range(2):
        with pytest.raises(MachineCrashed):
            world.wait(total=10)


def test_guest_is_lost_with_its_machine_not_the_other_way_round() -> None:
    machine = Watchdog()
    first, second = Watchdog(parent=machine), Watchdog(parent=machine)
    first.lose(lambda: TimedOut("first"))
    assert first.lost and not machine.lost and not second.lost
    machine.lose(lambda: MachineDied("QEMU ended"))
    with pytest.raises(MachineDied):
        second.check()


def test_poll_distinguishes_data_from_a_loss() -> None:
    machine = Watchdog()
    guest = Watchdog(parent=machine)
    read, write = os.pipe()
    try:
        assert guest.poll(read, 0.0) is False
        machine.lose(lambda: MachineDied("QEMU ended"))
        assert guest.poll(read, 60.0) is False  # must return at once, or this test hangs
        os.write(write, b"x")
        assert guest.poll(read, 60.0) is True
    finally:
        os.close(read)
        os.close(write)


def test_listener_hears_a_loss_within_its_block_only() -> None:
    watchdog = Watchdog()
    heard = []
    with watchdog.on_loss(lambda: heard.append("early")):
        pass
    with watchdog.on_loss(lambda: heard.append("within")):
        watchdog.lose(lambda: MachineDied("x"))
    with watchdog.on_loss(lambda: heard.append("after")):
        pass
    assert heard == ["within", "after"]


def test_a_deadline_finds_the_hung_layer_but_not_for_waits_of_the_search_itself() -> None:
    world = World()

    def find() -> Hung:
        with pytest.raises(TimedOut) as inner:
            world.wait(total=5.0)  # the search itself times out
        assert inner.value.layer == ""
        return Hung(layer="dom0", why="xenstored has ended")

    world.watchdog.find_hung_layer = find
    with pytest.raises(TimedOut) as caught:
        world.wait(total=10.0)
    assert caught.value.layer == "dom0"
    assert caught.value.message.endswith("; xenstored has ended")
    assert str(caught.value) == caught.value.message


def test_deadlines_of_two_threads_are_both_blamed() -> None:
    watchdog = Watchdog()
    both = threading.Barrier(2)
    from_search = []

    def find() -> Hung:
        from_search.append(watchdog.hung().layer)  # called from the search itself: empty
        return Hung(layer="dom0")

    watchdog.find_hung_layer = find
    blamed = []

    def wait() -> None:
        both.wait()
        blamed.append(watchdog.hung().layer)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (blamed, from_search) == (["dom0", "dom0"], ["", ""])


# --- pauses -------------------------------------------------------------------------------------------------


def soon(seconds: float, what: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, what)
    timer.daemon = True
    timer.start()


def test_a_pause_lasts_as_long_as_asked_on_any_host() -> None:
    watchdog = Watchdog()
    watchdog.time_scale = 50.0
    begin = time.monotonic()
    watchdog.pause(0.3)
    assert 0.3 <= time.monotonic() - begin < 5
    watchdog.pause(0)


def test_a_loss_ends_a_pause_at_once_and_forbids_the_next() -> None:
    watchdog = Watchdog()
    soon(0.2, lambda: watchdog.lose(lambda: MachineDied("killed")))
    begin = time.monotonic()
    with pytest.raises(MachineDied):
        watchdog.pause(60)
    assert time.monotonic() - begin < 10
    with pytest.raises(MachineDied):
        watchdog.pause(60)


@pytest.mark.parametrize("lost", ["machine", "first", "second"])
def test_watching_several_ends_with_any_of_them_and_the_machine_explains_the_others(lost: str) -> None:
    dogs = {"machine": Watchdog()}
    dogs |= {name: Watchdog(parent=dogs["machine"]) for name in ("first", "second")}
    guests = [SimpleNamespace(watchdog=dogs[name]) for name in ("first", "second")]
    soon(0.2, lambda: dogs[lost].lose(lambda: GuestEnded(lost)))
    heard: list[str] = []
    begin = time.monotonic()
    with (
        watching(dogs["machine"], *guests) as together,  # type: ignore[arg-type]
        together.on_loss(lambda: heard.append(lost)),
        pytest.raises(GuestEnded, match=lost),
    ):
        together.pause(60)
    assert time.monotonic() - begin < 10
    assert heard == [lost]
    # A guest's loss is no loss of dom0, which cleans up after it.
    assert dogs["machine"].lost == (lost == "machine")
    dogs["machine"].lose(lambda: MachineDied("killed"))
    with watching(dogs["second"], *guests) as together, pytest.raises((MachineDied, GuestEnded)) as caught:  # type: ignore[arg-type]
        together.check()
    assert isinstance(caught.value, MachineDied) == (lost != "machine")


def test_watching_has_the_time_scale_and_the_hung_layer_of_the_first() -> None:
    machine = Watchdog()
    machine.time_scale, machine.find_hung_layer = 2.0, lambda: Hung(layer="dom0")
    with watching(machine) as together:
        assert (together.time_scale, together.hung()) == (2.0, Hung(layer="dom0"))


def test_watching_leaves_no_descriptor_behind() -> None:
    watchdog = Watchdog()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with watching(watchdog):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_fast_host_shortens_no_deadline() -> None:
    assert time_scale_of(3.0, reference=2.0) == 1.5
    assert time_scale_of(0.1, reference=2.0) == 1.0


# The rooms that run machines. reaper.py waits for QEMUs that it has just killed, after the machine.
WATCHED = ["tests/suites", "harness/guest", "harness/machine", "harness/monitor", "harness/run"]
ALONE = {"harness/machine/reaper.py"}


def sleeps(path: Path) -> list[int]:
    """Lines that use time.sleep(), under any name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        imported = isinstance(node, ast.ImportFrom) and node.module == "time"
        if imported and any(name.name == "sleep" for name in node.names):
            found.append(node.lineno)
        if isinstance(node, ast.Attribute) and node.attr == "sleep":
            found.append(node.lineno)
    return found


def test_nothing_that_runs_a_machine_sleeps() -> None:
    """Who sleeps does not notice that the machine has crashed. Use pause() of the machine or its watchdog."""
    files = [path for room in WATCHED for path in (CHECKOUT / room).rglob("*.py")]
    assert len(files) > 50
    bad = {str(path.relative_to(CHECKOUT)): lines for path in files if (lines := sleeps(path))}
    assert set(bad) == ALONE


def test_a_closed_watchdog_writes_to_no_other_file(tmp_path: Path) -> None:
    """The number of its descriptor may be another file's by the time of a late crash line."""
    parent = Watchdog()
    watchdog = Watchdog(parent=parent)
    (number,) = set(watchdog.alarms()) - set(parent.alarms())
    watchdog.close()
    watchdog.close()
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, number)
    assert watchdog.lose(lambda: MachineDied("gone"))
    for descriptor in {file, number}:
        os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b""
    assert watchdog.lost and watchdog.alarms() == parent.alarms()
    watchdog.poll(None, 0.01)
    parent.lose(lambda: MachineDied("gone"))
    watchdog.poll(None, 60)  # ends at once
    parent.close()
