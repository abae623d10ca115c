# SPDX-License-Identifier: GPL-2.0-or-later
"""``evh run`` as a user runs it: real Xen, real Linux, exit codes, and no process left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

# As small a machine as possible: these tests are about the harness around it.
SMALL = "@pytest.mark.machine(memory_mib=1536, dom0_mib=768)"
MINUTES = 60.0

# The first test on a fresh machine builds everything.
pytestmark = pytest.mark.timeout(60 * MINUTES)


class Evh:
    """Runs the command in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "harness", *args]

    def __call__(self, *args: str, timeout: float = 45 * MINUTES) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*args), cwd=self.folder, capture_output=True, text=True, timeout=timeout
        )

    def write(self, body: str) -> str:
        text = f"import pytest\n\n{SMALL}\n" + textwrap.dedent(body).lstrip()
        (self.folder / "my_test.py").write_text(text)
        return "my_test.py"

    def record(self) -> dict[str, Any]:
        """run.json of the newest run."""
        found = max(self.folder.glob("runs/*/run.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(found.read_text())

    def qemus(self) -> list[str]:
        """Pids of the QEMU processes whose disk is in the folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"qemu" in words[0] and str(self.folder).encode() in b" ".join(words):
                found.append(path.parent.name)
        return found


@pytest.fixture
def evh(tmp_path: Path) -> Evh:
    return Evh(tmp_path)


def test_smoke_suite_passes_and_leaves_a_complete_report(evh: Evh) -> None:
    # Without the 32-bit guests' cells, which need another build of Linux.
    guests = ("--guest", "dom0", "--guest", "pv64", "--guest", "pvh64")
    got = evh("run", "--suite", "smoke", *guests, timeout=55 * MINUTES)
    assert got.returncode == 0, got.stdout + got.stderr
    assert "accelerator: " in got.stderr.splitlines()[0]
    assert "report.html" in got.stdout.splitlines()[-1]
    record = evh.record()
    assert (record["state"], record["verdict"], record["exit_code"]) == ("finished", "pass", 0)
    assert {test["verdict"] for test in record["tests"]} == {"pass"}
    assert len(record["tests"]) == record["planned"] > 10
    assert (record["wishes"], record["lacks"]) == ([], {}), "the default pair has all that is wanted"
    assert record["toolstack"].startswith("Debian's xen-utils-")
    assert {row["abi"] for row in record["rows"]} == {"2l", "fifo", "3l"}
    assert {row["guest"] for row in record["rows"]} == {"dom0", "pv64", "pvh64"}
    assert all(row["sent"] == row["seen"] > 0 for row in record["rows"])
    assert {source["name"] for source in record["sources"]} == {"xen", "linux"}
    (folder,) = evh.folder.glob("runs/*")
    assert {p.name for p in folder.iterdir()} >= {
        "run.json",
        "report.html",
        "junit.xml",
        "pytest.log",
        "machine-1",
    }
    assert "(XEN) " in (folder / "machine-1" / "console-xen.log").read_text(errors="replace")
    assert not list(folder.rglob("*.qcow2")), "temporary disks are removed"
    assert evh.qemus() == []


def test_conformance_by_a_bare_guest(evh: Evh) -> None:
    got = evh("run", "--suite", "conformance")
    assert got.returncode == 0, got.stdout + got.stderr
    record = evh.record()
    assert {test["verdict"] for test in record["tests"]} == {"pass"}
    assert len(record["tests"]) == record["planned"] > 20
    (folder,) = evh.folder.glob("runs/*")
    assert "KTAP version 1" in (folder / "console-bare-pv64-conformance.log").read_text()


def test_all_524287_channels_of_dom0(evh: Evh) -> None:
    got = evh("run", "--suite", "limits", "--abi", "3l", "-k", "raw_all_ports")
    assert got.returncode == 0, got.stdout + got.stderr
    (row,) = evh.record()["rows"]
    assert row["opened"] == 524_287
    assert row["sent"] == row["seen"] > 524_000
    assert (row["lost"], row["duplicated"]) == (0, 0)


def test_wrong_answer_is_exit_1(evh: Evh) -> None:
    got = evh(
        "run",
        evh.write("""
        def test_wrong(dom0):
            assert dom0.run("echo 4095", timeout=30).out.strip() == "4096"
    """),
    )
    assert got.returncode == 1, got.stdout + got.stderr
    (test,) = evh.record()["tests"]
    assert test["verdict"] == "fail"
    assert "4095" in test["reason"]
    assert "evh: dom0 ready" in test["evidence"]
    assert "again: evh repro" in got.stdout


def test_failed_cell_can_be_repeated_with_the_printed_command(evh: Evh) -> None:
    file = evh.write("""
        def test_wrong(dom0):
            assert False
    """)
    evh("run", file)
    (test,) = evh.record()["tests"]
    program, *args = test["reproduce"].split()
    assert program == "evh"
    again = evh(*args)
    assert again.returncode == 1, again.stdout + again.stderr
    assert "using the artifacts of" in again.stderr, "it boots the artifacts of the first run"
    assert [again["cell"] for again in evh.record()["tests"]] == [test["cell"]]


def test_panic_that_no_assertion_notices_is_a_crash_of_that_guest(evh: Evh) -> None:
    got = evh(
        "run",
        evh.write("""
        def test_blind(start_guest):
            guest = start_guest(name="victim", kind="pv64")
            guest.ssh.run("(sleep 0.1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &", timeout=30)
    """),
    )
    assert got.returncode == 3, got.stdout + got.stderr
    (test,) = evh.record()["tests"]
    assert (test["verdict"], test["layer"]) == ("crash", "guest:victim")
    assert "sysrq triggered crash" in test["reason"]
    assert "crash (guest:victim)" in got.stdout


def test_panic_of_dom0_ends_the_wait_and_the_next_test_gets_a_fresh_machine(evh: Evh) -> None:
    got = evh(
        "run",
        evh.write(f"""
        def test_panic(dom0):
            dom0.run("echo c > /proc/sysrq-trigger; sleep 3600", timeout=3600)

        {SMALL}
        def test_next(dom0):
            dom0.run("true", timeout=30)
    """),
    )
    assert got.returncode == 3, got.stdout + got.stderr
    tests = {test["test"]: test for test in evh.record()["tests"]}
    assert (tests["test_panic"]["verdict"], tests["test_panic"]["layer"]) == ("crash", "dom0")
    assert tests["test_panic"]["seconds"] < 5 * MINUTES, "not until the deadline"
    assert tests["test_next"]["verdict"] == "pass"
    assert [machine["number"] for machine in evh.record()["machines"]] == [1, 2]


def test_users_own_file_changes_a_guest_under_load(evh: Evh) -> None:
    """The example of docs/writing-tests.md."""
    got = evh(
        "run",
        evh.write("""
        def test_mine(dom0, start_guest, load):
            from harness.guest import lifecycle

            guest = start_guest(name="a", kind="pv64", vcpus=3, max_event_channels=4096)
            with load(dom0, guest, ports=300) as one:
                one.go()
                lifecycle.set_vcpus(guest, 1)
                assert one.pause().exact
    """),
    )
    assert got.returncode == 0, got.stdout + got.stderr


def test_hang_of_a_guest_ends_its_cell_and_not_the_run(evh: Evh) -> None:
    got = evh(
        "run",
        evh.write(f"""
        def test_hang(dom0, start_guest):
            guest = start_guest(name="stuck", kind="pv64")
            dom0.run("xl pause stuck", timeout=30)
            guest.ssh.run("true", timeout=5)

        {SMALL}
        def test_next(start_guest):
            start_guest(name="next", kind="pv64")
    """),
    )
    assert got.returncode == 5, got.stdout + got.stderr
    tests = {test["test"]: test for test in evh.record()["tests"]}
    # dom0 was probed, and answered.
    assert (tests["test_hang"]["verdict"], tests["test_hang"]["layer"]) == ("hang", "guest:stuck")
    # The hang report is beside the consoles: dom0's interrupts, ports and processes, Xen's list of ports,
    # the answers to Xen's debug keys, and xenstore last.
    (seen,) = evh.folder.glob("runs/*/machine-1/hang-1-guest-stuck.txt")
    text = seen.read_text()
    expected = ("xenbus", "usable: ", "do_sys_poll", '"ev":"result"', "'e' pressed", "/local/domain/1")
    places = [text.index(words) for words in expected]
    assert places == sorted(places)
    assert str(seen) in got.stderr
    assert tests["test_next"]["verdict"] == "pass"


def test_hang_of_dom0_is_its_own(evh: Evh) -> None:
    got = evh(
        "run",
        evh.write("""
        def test_hang(dom0):
            # Take all of dom0's CPUs but one offline, and let that one spin.
            dom0.run("echo 0 > /sys/devices/system/cpu/cpu1/online; chrt -f 99 sh -c 'while :; do :; done'",
                     timeout=20)
    """),
    )
    assert got.returncode == 5, got.stdout + got.stderr
    (test,) = evh.record()["tests"]
    assert (test["verdict"], test["layer"]) == ("hang", "dom0")
    (seen,) = evh.folder.glob("runs/*/machine-1/hang-1-dom0.txt")
    assert "Event channel information" in seen.read_text()


def test_nothing_to_run_is_exit_6(evh: Evh) -> None:
    got = evh("run", "--suite", "smoke", "-k", "no_such_test")
    assert got.returncode == 6, got.stdout + got.stderr
    assert evh.record()["machines"] == [], "nothing was booted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_booted_leaves_no_qemu(evh: Evh, number: signal.Signals) -> None:
    file = evh.write("""
        def test_long(dom0):
            open("booted", "w").close()
            dom0.run("sleep 3600", timeout=3600)
    """)
    child = subprocess.Popen(
        evh.command("run", file),
        cwd=evh.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (evh.folder / "booted").exists():
            assert child.poll() is None, child.communicate()
            time.sleep(0.1)
        assert len(evh.qemus()) == 1
        os.kill(child.pid, number)
        child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 128 + number
    record = evh.record()
    assert (record["state"], record["exit_code"]) == ("interrupted", 128 + number)
    assert "test_long" in record["error"]["message"]
    assert evh.qemus() == []


def test_boot_stays_up_for_shell_and_ends_on_ctrl_c(evh: Evh) -> None:
    child = subprocess.Popen(
        evh.command("boot", "--guest", "pv64", "--memory", "2048"),
        cwd=evh.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not list(evh.folder.glob("runs/*/attach.json")):
            assert child.poll() is None, child.communicate()
            time.sleep(0.1)
        got = evh("shell", "-c", "xl list; exit 7")
        assert got.returncode == 7
        assert "pv64" in got.stdout
        got = evh("shell", "pv64", "-c", "cat /proc/cmdline")
        assert (got.returncode, "evh.name=pv64" in got.stdout) == (0, True)
        assert evh("shell", "nobody", "-c", "true").returncode == 2
        os.kill(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 0, said
    assert "ssh -F" in said
    assert evh.qemus() == []
    assert not list(evh.folder.glob("runs/*/attach.json"))
