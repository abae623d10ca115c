# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine with real QEMU, Xen and Linux: it boots, and every way it ends is detected."""

import contextlib
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import InfraError
from harness.core.records import Abi, Accelerator, Built, GuestSpec, MachineSpec, Verdict
from harness.guest.guest import Guest
from harness.guest.load import Load
from harness.guest.tools import run_tool
from harness.machine import reaper
from harness.machine.hypervisor import roots_folder
from harness.machine.machine import Machine
from harness.machine.ssh import CommandFailed
from harness.machine.stream import Stream
from harness.monitor.waits import GuestEnded, MachineCrashed, MachineDied

TCG = Accelerator(kind="tcg", reason="TCG: asked for")
# 2l: every kernel has it. With `nmi=fatal`, QEMU's monitor can make Xen panic.
SPEC = MachineSpec(abi=Abi.L2, memory_mib=2048, dom0_mib=1024, xen_args="nmi=fatal")


class Say:
    def say(self, text: str) -> None:
        print(text)


def machine_of(built: Built, run_dir: Path) -> Machine:
    return Machine(built, SPEC, run_dir=run_dir, accelerator=TCG, progress=Say())


def qemu_pids(name: str) -> list[int]:
    """Pids of the QEMU processes (except zombies) of the machine `name`."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"guest={name},".encode() in (
                entry / "cmdline"
            ).read_bytes():
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def machine(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    # A folder name with characters that need care.
    with machine_of(built, tmp_path_factory.mktemp("run") / "a b, c") as machine:
        machine.boot()
        yield machine


def test_dom0_answers(machine: Machine) -> None:
    assert machine.dom0.run("xl info xen_version", timeout=30).out.startswith("4.")
    assert 0 < machine.boot_seconds < 180
    assert machine.watchdog.time_scale >= 1.0
    assert machine.consoles.find_crash() is None


def test_consoles_are_recorded_from_the_first_byte(machine: Machine) -> None:
    layers = {line.layer for line in machine.consoles.lines()}
    assert layers == {"xen", "dom0"}
    xen = machine.consoles.lines(layer="xen")
    assert any("Xen version" in line.text for line in xen[:5])
    assert all("(XEN)" not in line.text for line in machine.consoles.lines(layer="dom0"))
    assert any("Linux version" in line.text for line in machine.consoles.lines(layer="dom0")[:5])


def test_failing_command_has_its_output(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="status 3") as caught:
        machine.dom0.run("echo out; echo err >&2; exit 3", timeout=30)
    assert (caught.value.completed.out, caught.value.completed.err) == ("out\n", "err\n")
    assert machine.dom0.run("exit 3", timeout=30, check=False).rc == 3


def test_stream_is_a_conversation(machine: Machine) -> None:
    with machine.dom0.stream("while read a; do echo got $a; done; echo end", timeout=60) as stream:
        for word in ("one", "two"):
            stream.stdin_write(f"{word}\n".encode())
            assert stream.readline() == f"got {word}"
        stream.stdin_close()
        assert list(stream) == ["end"]
        assert stream.rc == 0


def test_large_input_and_output(machine: Machine) -> None:
    data = os.urandom(1 << 20)
    machine.dom0.put(data, "/tmp/a file", mode=0o600)
    shown = machine.dom0.run("md5sum < '/tmp/a file'; base64 -w0 '/tmp/a file'", timeout=60)
    import base64
    import hashlib

    digest, _, text = shown.out.partition("\n")
    assert digest.split()[0] == hashlib.md5(data).hexdigest()
    assert base64.b64decode(text) == data


def test_other_host_key_is_rejected(machine: Machine) -> None:
    from harness.machine.ssh import SSH, Keys

    keys = Keys(user=machine.keys.user, host=machine.keys.user)
    stranger = SSH(name="dom0", address=machine.dom0.address, keys=keys, watchdog=machine.watchdog)
    with pytest.raises(InfraError, match="host key"):
        stranger.connect(timeout=30)


@pytest.mark.parametrize("kind", ["pv64", "pvh64"])
def test_guest_answers_and_its_crash_is_its_own(machine: Machine, kind: str) -> None:
    with Guest(machine, GuestSpec(name=f"g-{kind}", kind=kind, abi=Abi.L2)).start() as guest:
        assert guest.ssh.run("cat /sys/hypervisor/type", timeout=30, check=False).rc in (0, 1)
        began = time.monotonic()
        with pytest.raises(MachineCrashed, match="sysrq triggered crash") as caught:
            guest.ssh.run("echo c > /proc/sysrq-trigger; sleep 1000", timeout=120)
        assert time.monotonic() - began < 30 * machine.watchdog.time_scale
        assert caught.value.layer == f"guest:g-{kind}"
        assert caught.value.verdict is Verdict.CRASH
        assert "Call Trace" in caught.value.crash.excerpt
    machine.dom0.run("true", timeout=30)
    log = (machine.run_dir / f"console-guest-g-{kind}.log").read_text(errors="replace")
    assert "Linux version" in "\n".join(log.splitlines()[:5])


def test_guests_leave_no_descriptor_open(machine: Machine) -> None:
    def once() -> int:
        with Guest(machine, GuestSpec(name="fd", kind="pv64", abi=Abi.L2)).start() as guest:
            guest.ssh.run("true", timeout=30)
        gc.collect()  # paramiko's channels
        return len(list(Path("/proc/self/fd").iterdir()))

    once()
    assert once() == once()


def test_guest_that_powers_off_is_not_a_crash(machine: Machine) -> None:
    with (
        Guest(machine, GuestSpec(name="off", kind="pv64", abi=Abi.L2)).start() as guest,
        pytest.raises(GuestEnded, match="powered off"),
    ):
        guest.ssh.run("echo o > /proc/sysrq-trigger; sleep 1000", timeout=120)
    # The processes in dom0 that followed its console and xl's log have ended too.
    assert "off.log" not in machine.dom0.run("ps -eo args", timeout=30).out


def test_crash_of_a_guest_ends_a_pause_and_a_tool_in_dom0_that_works_on_it(machine: Machine) -> None:
    crash = "(sleep 2; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &"
    for name in ("paused", "beside"):
        with Guest(machine, GuestSpec(name=name, kind="pv64", abi=Abi.L2)).start() as guest:
            guest.ssh.run(crash, timeout=30)
            began = time.monotonic()
            with pytest.raises(MachineCrashed, match="sysrq triggered crash"):
                if name == "paused":
                    machine.pause(600)
                else:
                    run_tool(
                        machine.dom0, "evtchn-wakeups", "--ms", "600000", timeout=700, beside=[guest]
                    )
            assert time.monotonic() - began < 30 * machine.watchdog.time_scale
    machine.pause(0.1)
    machine.dom0.run("true", timeout=30)


LONGEST_MUTE = 5.0  # seconds at reference speed; a tool prints a line each second


def test_no_tool_that_works_for_a_given_time_is_mute_meanwhile(machine: Machine) -> None:
    """Each for ten seconds; the time stamps are those of the lines' arrival."""
    ms, seconds = "10000", 10.0
    heard: list[float] = []

    def longest() -> float:
        """The longest pause between two lines; forgets them."""
        assert len(heard) >= 4, heard
        pauses = [b - a for a, b in itertools.pairwise(heard)]
        heard.clear()
        return max(pauses) / machine.watchdog.time_scale

    plain = Stream.readline

    def readline(stream: Stream, **words: float) -> str | None:
        line = plain(stream, **words)
        if line and '"ev"' in line:
            heard.append(time.monotonic())
        return line

    with (
        pytest.MonkeyPatch.context() as patch,
        Guest(machine, GuestSpec(name="flooded", kind="pv64", abi=Abi.L2)).start() as guest,
    ):
        patch.setattr(Stream, "readline", readline)
        heard.clear()
        for host, tool, *words in (
            (machine.dom0, "evtchn-churn", "--processes", "4", "--pairs", "20"),
            (guest.ssh, "evtchn-churn"),
            (machine.dom0, "evtchn-wakeups"),
            (machine.dom0, "evtchn-spurious", "--domid", str(guest.domid)),
        ):
            run_tool(host, tool, *words, "--ms", ms, timeout=60)
            assert longest() < LONGEST_MUTE, tool
        with Load(machine.dom0, guest.ssh, echo_domid=guest.domid, ports=20) as load:
            heard.clear()
            load.flood(seconds)
            assert longest() < LONGEST_MUTE, "flood"


def test_xen_answers_its_debug_keys_without_dom0(machine: Machine) -> None:
    since = machine.consoles.next_number
    machine.xen_keys("h")
    line = machine.consoles.wait_line(
        r"\[type '.'\]|pressed",
        layer="xen",
        since=since,
        watchdog=machine.watchdog,
        what="Xen's help",
        total=30,
    )
    assert line.layer == "xen"
    machine.consoles.wait_line(
        "Serial input to DOM0", since=since, watchdog=machine.watchdog, what="the way back", total=30
    )


def test_xen_panic_ends_a_wait_at_once(machine: Machine) -> None:
    """Must be the last test on the shared machine."""
    stream = machine.dom0.stream("echo up; sleep 1000", timeout=1000)
    assert stream.readline() == "up"
    began = time.monotonic()
    machine.monitor.human("nmi")
    with pytest.raises(MachineCrashed, match="FATAL TRAP: vec 2") as caught:
        stream.readline()
    assert time.monotonic() - began < 15
    assert caught.value.layer == "xen"
    # Depends on what the CPU was running when the NMI arrived: Xen, or dom0.
    excerpt = caught.value.crash.excerpt
    assert "Xen call trace" in excerpt or "CONTEXT: pv guest (d0v" in excerpt
    with pytest.raises(MachineCrashed):  # and every wait after it
        machine.dom0.run("true", timeout=30)


def test_dom0_panic_is_dom0s(built: Built, tmp_path: Path) -> None:
    with machine_of(built, tmp_path) as machine:
        machine.boot()
        with pytest.raises(MachineCrashed, match="sysrq triggered crash") as caught:
            machine.dom0.run("echo c > /proc/sysrq-trigger; sleep 1000", timeout=120)
        assert caught.value.layer == "dom0"
        name = machine.name
    assert not qemu_pids(name)
    assert not list(tmp_path.glob("*.qcow2"))


def test_killed_qemu_ends_a_wait_at_once(built: Built, tmp_path: Path) -> None:
    with machine_of(built, tmp_path) as machine:
        machine.start()
        machine.wait_xen()
        (pid,) = qemu_pids(machine.name)
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(MachineDied, match="QEMU ended unexpectedly") as caught:
            machine.consoles.wait_line("never", watchdog=machine.watchdog, what="nothing", total=60)
        assert time.monotonic() - began < 5
        assert (caught.value.verdict, caught.value.layer) == (Verdict.CRASH, "qemu")


def test_missing_hypervisor_is_reported(built: Built, tmp_path: Path) -> None:
    broken = replace(built, xen=tmp_path / "nothing")
    with machine_of(broken, tmp_path) as machine, pytest.raises(InfraError, match="missing"):
        machine.start()


# A child process that runs a machine and is then killed.
CHILD = """
import pickle, sys, time
from pathlib import Path
from harness.machine.hypervisor import process_root
from test_machine import machine_of
with machine_of(pickle.loads(bytes.fromhex(sys.argv[1])), Path(sys.argv[2])) as machine:
    machine.start()
    machine.wait_xen()
    print(machine.name, process_root(), flush=True)
    time.sleep(1000)
"""


def start_child(built: Built, run_dir: Path) -> tuple[subprocess.Popen[str], str, Path]:
    here = Path(__file__).resolve().parent
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, pickle.dumps(built).hex(), str(run_dir)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent.parent), str(here)])},
    )
    assert child.stdout is not None
    name, root = child.stdout.readline().split()
    return child, name, Path(root)


def gone_within(seconds: float, name: str, root: Path) -> float:
    """Seconds until QEMU and the root of a machine are gone; fails after `seconds`."""
    began = time.monotonic()
    while qemu_pids(name) or root.exists():
        assert time.monotonic() - began < seconds, (qemu_pids(name), root)
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_qemu_outlives_a_killed_harness(built: Built, tmp_path: Path, how: int) -> None:
    child, name, root = start_child(built, tmp_path)
    assert qemu_pids(name)
    # Signal the whole process group, as a terminal or a CI runner does.
    os.killpg(child.pid, how)
    child.wait(timeout=30)
    print(f"gone after {gone_within(10, name, root):.2f} s")
    assert not list(tmp_path.glob("*.qcow2"))


def test_leftovers_are_reaped_when_the_watcher_was_killed_too(
    built: Built, tmp_path: Path
) -> None:
    child, name, root = start_child(built, tmp_path)
    watchers = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and str(root).encode() in (words := _words(entry))
        and str(child.pid).encode() in words
    ]
    assert len(watchers) == 1
    os.kill(watchers[0], signal.SIGKILL)
    child.kill()
    child.wait(timeout=30)
    assert qemu_pids(name), "QEMU must survive without a watcher, or the test proves nothing"
    assert root in [reaped.root for reaped in reaper.reap_leftovers(roots_folder())]
    gone_within(5, name, root)
    assert not list(tmp_path.glob("*.qcow2"))


def _words(entry: Path) -> list[bytes]:
    with contextlib.suppress(OSError):
        return (entry / "cmdline").read_bytes().split(b"\0")
    return []
