# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's life events: which command goes where, in which order, and what a refusal leaves behind.

SSH is a stand-in that records the commands. The scripts for a soft reset are run by a real shell, beside
programs that stand for xl and xenstore.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.layout import DOM0_ADDRESS, TOOLS_DIR
from harness.core.records import Abi, GuestSpec
from harness.guest import lifecycle
from harness.guest.protocol import ToolError
from harness.machine.ssh import CommandFailed, Completed
from harness.monitor.waits import MachineDied, TimedOut


class Stream:
    """A tool's output; it has ended once all lines are read, as an SSH stream has."""

    def __init__(self, lines: list[str], *, rc: int = 0, err: str = "") -> None:
        self._lines, self._end, self.err = iter(lines), rc, err
        self.rc, self.closed = -1, False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.rc = self._end

    def stdin_close(self) -> None:
        pass

    def watching(self, *others: object) -> AbstractContextManager[None]:
        return nullcontext()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.closed = True


class Watchdog:
    """One that is never lost; time passes only in its pauses."""

    def __init__(self) -> None:
        self.time_scale, self.now = 1.0, 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class SSH:
    """Records commands in a log shared by all hosts of a test; answers from ``answers``."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.watchdog = Watchdog()
        self.answers: dict[str, str] = {}  # by how the command begins
        self.streams: list[Stream] = []
        self.refuses = ""
        self.shell: Callable[[str], Completed] | None = None

    def run(self, cmd: str, *, timeout: float, check: bool = True) -> Completed:
        self.log.append(f"{self.name}: {cmd}")
        done = Completed(rc=0, out="", err="")
        if self.shell:
            done = self.shell(cmd)
        elif self.refuses and cmd.startswith(self.refuses):
            done = Completed(rc=1, out="", err="libxl: not now")
        elif found := [out for start, out in self.answers.items() if cmd.startswith(start)]:
            done = Completed(rc=0, out=found[0], err="")
        if check and done.rc:
            raise CommandFailed(done.err, completed=done)
        return done

    def stream(self, cmd: str, *, timeout: float, silence: float | None = None) -> Stream:
        self.log.append(f"{self.name}: {cmd}")
        return self.streams.pop(0)


class Guest:
    def __init__(self, kind: str = "pv64") -> None:
        self.log: list[str] = []
        self.spec = GuestSpec(name="a", kind=kind)
        self.layer, self.domid = "guest:a", 3
        self.ssh = SSH("guest", self.log)
        self.dom0 = SSH("dom0", self.log)
        self.machine = SimpleNamespace(dom0=self.dom0, consoles=self)
        self.watchdog = SimpleNamespace(check=lambda: self.log.append("check"))
        self.silent = False  # it does not answer after a life event

    @property
    def next_number(self) -> int:
        """Console lines so far: here one for each entry of the log."""
        return len(self.log)

    @contextmanager
    def expect_crash(self, layer: str, text: str) -> Iterator[None]:
        self.log.append(f"expect {layer}: {text}")
        yield
        self.log.append("expect ended")

    def follow(self, name: str) -> None:
        self.log.append(f"follow {name}")

    def wait_ready(self, *, since: int) -> None:
        self.log.append(f"wait_ready since {since}")

    def arrived(self) -> None:
        self.log.append("arrived")
        if self.silent:
            raise TimedOut("the guest does not answer")


@pytest.fixture
def guest() -> Any:
    return Guest()


def said(tool: str, **result: object) -> Stream:
    lines = [{"ev": "start", "tool": tool}, {"ev": "result", **result}]
    return Stream([json.dumps(line) for line in lines])


def status(count: int) -> Stream:
    zeros = dict.fromkeys(("domid", "highest", "unbound", "interdomain", "pirq", "virq", "ipi", "seconds"), 0)
    return said("evtchn-status", open=count, **zeros)


def test_abi_is_what_the_kernel_says_now(guest: Any) -> None:
    guest.ssh.answers = {"cat /sys/kernel/debug/": "fifo\n"}
    assert lifecycle.abi_now(guest.ssh) is Abi.FIFO


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (lambda g: lifecycle.save(g, "/var/a b"), "save a '/var/a b'"),
        (lifecycle.suspend, "suspend a"),
        (lifecycle.resume, "resume a"),
    ],
)
def test_event_without_an_arrival_is_one_command_of_xl(
    guest: Any, event: Callable[[Any], None], words: str
) -> None:
    event(guest)
    assert guest.log == [f"dom0: xl {words} >&2"]


def test_restore_removes_the_file_only_after_the_guest_answers(guest: Any) -> None:
    lifecycle.restore(guest, "/a b")
    assert guest.log == ["dom0: xl restore '/a b' >&2", "arrived", "dom0: rm -f '/a b'"]


def test_restore_with_fewer_channels(guest: Any) -> None:
    lifecycle.restore(guest, "/f", max_event_channels=99)
    assert guest.log[:2] == [
        "dom0: grep -v ^max_event_channels /run/evh-a.cfg > /run/evh-restored.cfg "
        "&& echo 'max_event_channels = 99' >> /run/evh-restored.cfg ",
        "dom0: xl restore /run/evh-restored.cfg /f >&2",
    ]


def test_restore_leaves_the_file_of_a_guest_that_does_not_answer(guest: Any) -> None:
    guest.silent = True
    with pytest.raises(TimedOut):
        lifecycle.restore(guest, "/file")
    assert guest.log == ["dom0: xl restore /file >&2", "arrived"]


def test_checkpoint_removes_the_file_of_a_guest_that_goes_on(guest: Any) -> None:
    lifecycle.checkpoint(guest, "/file")
    assert guest.log == ["dom0: xl save -c a /file >&2", "dom0: rm -f /file"]


@pytest.mark.parametrize(
    "event",
    [
        lambda g: lifecycle.restore(g, "/file"),
        lambda g: lifecycle.checkpoint(g, "/file"),
        lifecycle.migrate,
        lifecycle.reboot,
    ],
)
def test_refusal_of_xl_is_raised_and_nothing_follows(guest: Any, event: Callable[[Any], None]) -> None:
    guest.dom0.refuses = "xl "
    with pytest.raises(CommandFailed, match="not now"):
        event(guest)
    assert guest.log[-1].startswith("dom0: xl ")


def test_migration_follows_the_incoming_domain_from_before_it_begins(guest: Any) -> None:
    lifecycle.migrate(guest)
    follow, script, migrate, arrived = guest.log
    assert follow == "follow a--incoming"
    assert "exec xl migrate-receive" in script and script.endswith("chmod 755 /run/evh-receive")
    assert migrate == "dom0: xl migrate -s '' a /run/evh-receive >&2"
    assert arrived == "arrived"


def test_reboot_counts_console_lines_from_before_it(guest: Any) -> None:
    """The "ready" of the boot before would end the wait at once."""
    lifecycle.reboot(guest)
    assert guest.log == ["dom0: xl reboot a >&2", "wait_ready since 0", "arrived"]


@pytest.mark.parametrize(("count", "brings_online"), [(4, True), (1, False)])
def test_vcpus_are_brought_online_only_if_there_are_more(guest: Any, count: int, brings_online: bool) -> None:
    guest.ssh.answers = {"echo $(grep -c ^processor": "2\n"}
    lifecycle.set_vcpus(guest, count)
    _, plug, wait = guest.log
    assert plug == f"dom0: xl vcpu-set --ignore-host a {count} >&2"
    assert wait.startswith("guest: n=0; until [ $(grep -c ^processor /proc/cpuinfo) = ")
    assert ("echo 1 > $cpu" in wait) == brings_online


def test_fetch_serves_dom0s_files_before_the_guest_asks_for_one(guest: Any) -> None:
    lifecycle.fetch(guest, "/opt/x", "/tmp/a b")
    serve, get = guest.log
    url = f"{DOM0_ADDRESS}:{lifecycle.PORT}"
    assert serve.startswith("dom0: ") and f"httpd -p {url} -h /" in serve
    assert get == f"guest: wget -q -O '/tmp/a b' http://{url}/opt/x"


def test_held_gives_the_pid_and_ends_the_tool_after_the_block(guest: Any) -> None:
    stream = Stream(['{"ev": "start"}', '{"ev": "held", "pid": 77, "open": 6}', "never read"])
    guest.ssh.streams = [stream]
    with lifecycle.held(guest.ssh, files=2, ports=3, children=1) as pid:
        assert pid == 77
        assert not stream.closed
    assert stream.closed
    assert guest.log == [f"guest: exec {TOOLS_DIR}/evtchn-files --files=2 --ports=3 --children=1"]


def test_held_ends_the_tool_also_when_the_block_fails(guest: Any) -> None:
    stream = Stream(['{"ev": "held", "pid": 77, "open": 6}'])
    guest.ssh.streams = [stream]
    with pytest.raises(ZeroDivisionError), lifecycle.held(guest.ssh, files=1, ports=1):
        raise ZeroDivisionError
    assert stream.closed


def test_tool_that_ends_before_it_holds_all_is_an_error_with_its_words(guest: Any) -> None:
    guest.ssh.streams = [Stream(['{"ev": "start"}'], rc=1, err="evtchn-files: bind: no space\n")]
    with (
        pytest.raises(ToolError, match="ended with status 1: evtchn-files: bind: no space"),
        lifecycle.held(guest.ssh, files=1, ports=1),
    ):
        pytest.fail("the block was entered")


def test_count_of_open_ports_is_awaited_until_it_is_as_wanted(guest: Any) -> None:
    guest.dom0.streams = [status(count) for count in (9, 9, 5, 4, 4)]
    assert lifecycle.until_open(guest.dom0, 4, domid=3) == 4
    assert guest.log == [f"dom0: {TOOLS_DIR}/evtchn-status --domid 3"] * 4
    assert guest.dom0.watchdog.pauses == [0.5] * 3


@pytest.mark.parametrize("scale", [1, 3])
def test_count_that_has_not_changed_for_half_a_minute_is_given_back(guest: Any, scale: int) -> None:
    """Ports that are still being closed start the half minute again; on a slow host it is longer."""
    guest.dom0.watchdog.time_scale = scale
    guest.dom0.streams = [status(count) for count in (9, *[8] * 60 * scale, *[7] * 62 * scale)]
    assert lifecycle.until_open(guest.dom0, 4) == 7
    assert len(guest.log) == 1 + 60 * scale + 60 * scale + 1


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_waiting_in_a_guests_shell_is_longer_on_a_slow_host(guest: Any, scale: float) -> None:
    guest.ssh.watchdog.time_scale = scale
    text = lifecycle.polling(
        guest.ssh, "test -e /ready", seconds=0.3, every=0.1, work="echo no;", late="break"
    )
    script = f"sleep() {{ echo nap; }}; {text}; echo end"
    got = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10).stdout.split()
    attempts = round(3 * scale + 0.4)
    assert got == ["no", "nap"] * (attempts - 1) + ["no", "end"]


@pytest.mark.parametrize("crash", [False, True])
def test_next_kernel_gets_this_ones_command_line(guest: Any, crash: bool) -> None:
    """Without the crash kernel's memory; with ACPI's tables, which only the PVH entry is told of."""
    guest.ssh.answers = {
        "cat /proc/cmdline": "console=hvc0 crashkernel=128M evh.name=a\n",
        "dmesg": "[    0.0] ACPI: RSDP 0x00000000FC008000 000024 (v02 Xen   )\n",
    }
    guest.ssh.streams = [said("kexec-self", kernel_bytes=1, initrd_bytes=1)]
    lifecycle.load_kernel(guest, crash=crash)
    assert [line.rpartition("/")[2] for line in guest.log if " wget " in line] == ["bzImage", "guest.cpio.gz"]
    load = guest.log[-1]
    args = "console=hvc0 evh.name=a acpi_rsdp=0x00000000FC008000" + (" nr_cpus=1" if crash else "")
    assert load.startswith(f"guest: {TOOLS_DIR}/kexec-self --kernel=/tmp/kernel --initrd=/tmp/initrd")
    assert f"'--args={args}'" in load
    assert load.endswith(" --crash") == crash


def test_kernel_without_acpi_is_told_of_no_tables(guest: Any) -> None:
    guest.ssh.answers = {"cat /proc/cmdline": "console=hvc0\n"}
    guest.ssh.streams = [said("kexec-self", kernel_bytes=1, initrd_bytes=1)]
    lifecycle.load_kernel(guest)
    assert guest.log[-1].endswith(" --args=console=hvc0")


def test_kexec_of_a_pv_guest_needs_no_help_of_dom0(guest: Any) -> None:
    lifecycle.kexec(guest)
    go, *rest = guest.log
    assert go == f"guest: (sleep 0.5; {TOOLS_DIR}/kexec-self --go) </dev/null >/dev/console 2>&1 &"
    assert rest == ["wait_ready since 0", "arrived"]


def test_panic_is_on_the_cpu_asked_for_and_expected_until_the_next_kernel_answers(guest: Any) -> None:
    lifecycle.panic(guest, cpu=4)
    expect, go, *rest = guest.log
    assert expect == "expect guest:a: Kernel panic - not syncing: sysrq triggered crash"
    assert "taskset 10 sh -c 'echo c > /proc/sysrq-trigger'" in go
    assert rest == ["wait_ready since 1", "arrived", "expect ended"]


# --- soft reset of a PVH guest, whose scripts a real shell runs ---------------------------------------------

FRONTENDS = ("vif/0", "vbd/51712")
PROGRAMS = {
    "xl": "echo Name ID Mem VCPUs State Time; echo $1-$2 3 512 2 $(cat state) 1.0",
    "sleep": "echo >> naps",
    "xenstore-ls": """
        [ "$*" = "-f /local/domain/3/device" ] || exit 1
        for device in vif/0 vbd/51712; do
            echo "/local/domain/3/device/$device/backend = \\"/back/$device\\""
            echo "/local/domain/3/device/$device/backend-id = \\"0\\""
        done""",
    "xenstore-read": """
        case $1 in
            */backend) echo /back/${1#/local/domain/3/device/} | sed 's,/backend$,,';;
            /back/*) cat states${1#/back} 2>/dev/null || echo 4;;
        esac""",
    # A backend that sees its frontend closed closes too.
    "xenstore-write": """
        name=${1#/local/domain/3/device/}; mkdir -p states/${name%/state}; echo $2 > states/$name""",
}


@pytest.fixture
def pvh(tmp_path: Path) -> Any:
    """A PVH guest whose dom0 is this host's shell, in a folder where ``state`` is xl's word of the guest."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, script in PROGRAMS.items():
        (bin_dir / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_dir / name).chmod(0o755)
    guest: Any = Guest("pvh64")
    env = os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}"}

    def shell(cmd: str) -> Completed:
        got = subprocess.run(
            ["sh", "-c", cmd], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=20
        )
        return Completed(rc=got.returncode, out=got.stdout, err=got.stderr)

    guest.dom0.shell = shell
    guest.dom0.streams = [said("soft-reset", store_port=1, console_port=2)]
    return guest


def test_pvh_guest_is_reset_once_its_backends_are_closed(pvh: Any, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("---sS-")
    lifecycle.kexec(pvh)
    for device in FRONTENDS:
        assert (tmp_path / "states" / device / "state").read_text() == "6\n"
    assert not (tmp_path / "naps").exists()
    assert pvh.log[2] == "check"
    assert pvh.log[4:] == [f"dom0: {TOOLS_DIR}/soft-reset --domid 3", "wait_ready since 0", "arrived"]


@pytest.mark.parametrize("state", ["---s--", "---sr-"])
def test_guest_that_shut_down_for_another_reason_is_not_reset(pvh: Any, tmp_path: Path, state: str) -> None:
    (tmp_path / "state").write_text(state)
    with pytest.raises(CommandFailed, match="has not shut down for a soft reset"):
        lifecycle.kexec(pvh)
    assert not (tmp_path / "states").exists()
    assert not any("soft-reset" in line for line in pvh.log)


def test_loss_of_the_guest_is_raised_before_its_state_is_judged(pvh: Any, tmp_path: Path) -> None:
    """Its crash tells more than "it has not shut down"."""

    def check() -> None:
        raise MachineDied("QEMU ended by itself")

    (tmp_path / "state").write_text("---sc-")
    pvh.watchdog.check = check
    with pytest.raises(MachineDied):
        lifecycle.kexec(pvh)
