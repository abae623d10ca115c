# SPDX-License-Identifier: GPL-2.0-or-later
"""What the unit tests of several modules share: a fake machine, guest and backends, a fake SSH
for the in-guest tools, run folders, a recorded run, and sources.

The consoles of the fake machine are real ``Consoles`` objects that the test feeds.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import msgspec

from harness.core.paths import CHECKOUT
from harness.core.records import Accelerator, Built, GuestSpec, MachineSpec, Source, Verdict
from harness.monitor.consoles import Consoles
from harness.monitor.waits import MachineCrashed, MachineDied, Watchdog
from harness.run.backends import Backends
from harness.run.record import (
    AcceleratorRecord,
    ArtifactRecord,
    ConsoleRecord,
    CoverageRecord,
    ErrorRecord,
    MachineRecord,
    Row,
    RunRecord,
    SourceRecord,
    StepRecord,
    TestResult,
)
from harness.run.recorder import Recorder, now
from harness.source import bases
from harness.store.artifacts import Artifact, Store

BOOT = b"(XEN) Xen version 4.20\n(XEN) *** Serial input to DOM0\nLinux version 6.12\nevh: dom0 ready\n"
PANIC = (
    b"(XEN) ****************************************\n(XEN) Panic on CPU 0:\n(XEN) Assertion 'ok' failed\n"
)


class FakeGuest:
    def __init__(self, machine: FakeMachine, spec: GuestSpec) -> None:
        self.machine, self.spec, self.destroyed = machine, spec, False
        self.layer = f"guest:{spec.name}"
        self.ssh = SimpleNamespace(name=self.layer)
        self.watchdog = Watchdog(parent=machine.watchdog)
        self.say(b"Linux version 6.12\nevh: guest ready\n")

    def say(self, data: bytes) -> None:
        self.machine.consoles.feed(f"guest:{self.spec.name}", data)

    def destroy(self) -> None:
        self.destroyed = True
        self.machine.log.append(f"destroy {self.spec.name}")


class FakeMachine:
    """Boots immediately. All machines of a test share ``log``."""

    def __init__(
        self,
        spec: MachineSpec,
        folder: Path,
        log: list[str],
        *,
        accelerator: Accelerator | None = None,
        at_boot: bytes = BOOT,
        slow: float = 1.0,
    ) -> None:
        self.slow = slow
        self.spec, self.run_dir, self.log, self._at_boot = spec, folder, log, at_boot
        self.accelerator = accelerator or Accelerator(kind="tcg", reason="TCG: a test")
        self.boot_seconds = 0.25
        self.restore_seconds: float | None = None
        self.watchdog = Watchdog()
        self.consoles: Consoles = None  # type: ignore[assignment]
        self.closed = False
        self.guests: dict[str, FakeGuest] = {}
        self.dom0 = SimpleNamespace(name="dom0", address=("127.0.0.1", 2222))

    def __enter__(self) -> FakeMachine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self.consoles is not None and not self.closed:
            self.log.append("close")
            self.consoles.close()
            self.closed = True

    def boot(self) -> None:
        self.log.append(f"boot {self.spec.abi} {self.spec.memory_mib}")
        self.watchdog.time_scale = self.slow
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.consoles = Consoles(self.run_dir)
        self.consoles.feed(Consoles.SERIAL, self._at_boot)
        if crash := self.consoles.find_crash():
            raise MachineCrashed("xen crashed", crash=crash)

    def restore(self, snapshot: Any) -> None:
        """Come up as the snapshot says: ``error`` is raised, if there is one."""
        self.log.append(f"restore {self.spec.abi} {self.spec.memory_mib}")
        self.watchdog.time_scale = self.slow
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.consoles = Consoles(self.run_dir)
        self.consoles.feed(Consoles.SERIAL, BOOT)
        if snapshot.error:
            raise snapshot.error
        self.boot_seconds, self.restore_seconds = snapshot.facts.boot_seconds, 0.125

    def pause(self, seconds: float) -> None:
        self.watchdog.pause(seconds)

    def dies(self) -> None:
        self.watchdog.lose(lambda: MachineDied("QEMU ended by itself: it was killed"))

    def xen_panics(self) -> None:
        self.consoles.feed(Consoles.SERIAL, PANIC)

    def prove_consoles(self, shells: dict[str, Any]) -> None:
        """Believe that every console is recorded."""

    def start_guest(self, spec: GuestSpec) -> FakeGuest:
        self.log.append(f"start {spec.name}")
        self.guests[spec.name] = FakeGuest(self, spec)
        return self.guests[spec.name]


class FakeSnapshots:
    """One snapshot, of any machine; ``errors`` has what its next restores raise."""

    def __init__(self, log: list[str], *errors: Exception | None, saves: Exception | None = None) -> None:
        self.log, self.errors, self.saves = log, list(errors), saves
        self.works = True

    @contextmanager
    def find(self, machine: FakeMachine) -> Iterator[SimpleNamespace | None]:
        facts = SimpleNamespace(made="then", boot_seconds=7.5)
        yield SimpleNamespace(facts=facts, error=self.errors.pop(0)) if self.errors else None

    def proven(self, make: Callable[[Path], FakeMachine], folder: Path) -> bool:
        self.log.append("prove")
        return self.works

    def refuse(self, machine: FakeMachine, error: Exception) -> None:
        self.log.append("refuse")

    def save(self, machine: FakeMachine) -> bool:
        self.log.append("save")
        if self.saves:
            raise self.saves
        return True


def fake_built() -> Built:
    path = Path("nowhere")
    paths = "xen xen_syms kernel vmlinux dom0_image guest_initrd tools ssh_key host_key"
    built: dict[str, Any] = dict.fromkeys(paths.split(), path)
    return Built(
        **built,
        keys={"xen": "a" * 32},
        hits={"xen": True},
        sources={
            "xen": Source(name="xen", version="4.20.3", origin="apt:trixie:4.20.3-1", sha256="1" * 64),
            "linux": Source(
                name="linux", version="6.12.107", origin="apt:trixie:6.12.107-1", sha256="2" * 64
            ),
        },
    )


def fake_artifact(path: Path) -> Artifact:
    return Artifact(path=path, key="c" * 32, hit=False, reason="first build", files={})


def fake_backends(
    log: list[str], *, at_boot: bytes = BOOT, build: Callable[[], Built] = fake_built
) -> Backends:
    return Backends(
        choose=lambda want: Accelerator(kind="tcg", reason="TCG: a test"),
        prove=lambda request, built, accelerator, folder: accelerator,
        build=lambda request, progress, components: build(),
        machine=lambda request, built, spec, folder, accelerator, progress: FakeMachine(
            spec, folder, log, accelerator=accelerator, at_boot=at_boot
        ),  # type: ignore[arg-type,return-value]
        xtf=lambda request, progress: fake_artifact(request.selection.xtf or Path()),
        kunit=lambda request, progress, kind: fake_artifact(Path(kind)),
        snapshots=lambda tell: None,
        guest=lambda machine, spec: machine.start_guest(spec),
        hold=lambda machine, folder: log.append("hold"),
        store_in_use=lambda progress: nullcontext(),
    )


def make_host(
    root: Path, *, kvm: bool = True, flags: str = "fpu svm npt", module: str = "kvm_amd", nested: str = "1"
) -> Path:
    """A root folder with the files that tell whether this host's KVM can nest."""
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
    (root / "dev").mkdir()
    if kvm:
        (root / "dev/kvm").touch()
    if module:
        (root / f"sys/module/{module}/parameters").mkdir(parents=True)
        (root / f"sys/module/{module}/parameters/nested").write_text(f"{nested}\n")
    return root


def make_run(folder: Path, *, state: str = "finished", pid: int = 0, note: str = "") -> Path:
    """A run folder with nothing but a run.json."""
    folder.mkdir(parents=True)
    record = RunRecord(
        id=folder.name,
        command=["evh", "run"],
        reproduce="evh run",
        started=now(),
        state=state,
        pid=pid,
        notes=[note] if note else [],
    )
    Recorder(run_dir=folder, record=record).save()
    return folder


# Lines of the in-guest tools, recorded from Xen 4.20 with Linux 6.12 under TCG.
START = '{"ev":"start","tool":"xen-free"}'
FREE = (
    '{"ev":"result","free_pages":256092,"total_pages":524155,"scrub_pages":0,'
    '"mem_free_kib":908944,"mem_available_kib":912828,"slab_kib":5512}'
)
DEV_START = '{"ev":"start","tool":"evtchn-dev","seed":1}'
PORTS = '{"ev":"ports","opened":100,"refused":null,"open_ns":2198790,"ranges":[[17,113],[115,117]]}'


class FakeStream:
    """A command that prints the given lines one at a time and records its stdin."""

    def __init__(self, lines: list[str], *, rc: int = 0, err: str = "") -> None:
        self.lines, self.rc, self.err = lines, rc, err
        self.told: list[str] = []
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        yield from self.lines

    def stdin_write(self, data: bytes) -> None:
        self.told.append(data.decode())

    def stdin_close(self) -> None:
        self.told.append("<end>")

    def watching(self, *others: Any) -> AbstractContextManager[None]:
        self.watched = others
        return nullcontext()

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FakeSSH:
    """Gives one stream for each command, in order, and records the commands."""

    def __init__(self, *streams: FakeStream, name: str = "dom0", time_scale: float = 1.0) -> None:
        self.name = name
        self.watchdog = SimpleNamespace(time_scale=time_scale)
        self.commands: list[str] = []
        self._streams = list(streams)

    def stream(self, cmd: str, **_: object) -> FakeStream:
        self.commands.append(cmd)
        return self._streams.pop(0)

    def run(self, cmd: str, **_: object) -> Any:
        return SimpleNamespace(out="\n".join(self._streams[0].lines))


# The line after which the serial port is also dom0's.
HANDED_OVER = b"(XEN) *** Serial input to DOM0 (type 'CTRL-a' three times to switch input)\n"

# Text that a report must not pass on as it is.
NASTY = "<script>alert(1)</script> & \x1b[31mred\x1b[0m\x1b[2J \x00\x07 end"


def recorded() -> RunRecord:
    """A record as ``evh run`` writes it, with a pass, a crash and a skip."""
    base = "xen-4.20+linux-6.12/release"
    tests = [
        TestResult(
            cell=f"{base}/dom0/3l/limits::test_raw/1",
            test="test_raw",
            suite="limits",
            guest="dom0",
            abi="3l",
            verdict=Verdict.PASS,
            seconds=12.5,
            machine=1,
        ),
        TestResult(
            cell=f"{base}/pv64/3l/limits::test_crash[a]/1",
            test="test_crash[a]",
            suite="limits",
            guest="pv64",
            abi="3l",
            verdict=Verdict.CRASH,
            layer="xen",
            reason="(XEN) Panic on CPU 0: [red]",
            seconds=3,
            machine=1,
            evidence=NASTY,
            reproduce="evh run --cell 'a[b]'",
        ),
        TestResult(
            cell=f"{base}/pv64/2l/limits::test_skip/1",
            test="test_skip",
            suite="limits",
            guest="pv64",
            abi="2l",
            verdict=Verdict.SKIP,
            reason="needs 8 GiB",
        ),
    ]
    rows = [
        Row(
            abi="3l",
            guest="dom0",
            path="raw",
            opened=524287,
            sent=524287,
            seen=524287,
            lost=0,
            duplicated=0,
            seconds=11.25,
            guest_bytes_per_port=0.5,
            xen_bytes_per_port=64.9,
        ),
        Row(
            abi="fifo",
            guest="pv64",
            path="irq",
            opened=131071,
            sent=131071,
            seen=131070,
            lost=1,
            duplicated=0,
            seconds=400,
            note="with a note",
        ),
    ]
    return RunRecord(
        id="20260101-120000-abcd",
        command=["evh", "run", "--suite", "limits"],
        reproduce="evh run --suite limits",
        started="2026-01-01T12:00:00.000+00:00",
        state="finished",
        seconds=100.0,
        verdict=Verdict.CRASH,
        exit_code=3,
        accelerator=AcceleratorRecord(kind="tcg", reason="TCG: no /dev/kvm"),
        host={"cpus": "2", "qemu": ""},
        harness={"version": "0.1"},
        plan={"suite": "limits"},
        sources=[
            SourceRecord(
                name="xen",
                version="4.20.3",
                origin="apt:trixie:4.20.3-1",
                sha256="f" * 64,
                note="newer than asked",
            )
        ],
        artifacts=[
            ArtifactRecord(name="xen", key="a" * 32, hit=True),
            ArtifactRecord(name="kernel", key="b" * 32, hit=False),
        ],
        machines=[
            MachineRecord(number=1, abi="3l", memory_mib=8192, dom0_mib=6144, vcpus=2, boot_seconds=9.6)
        ],
        planned=3,
        tests=tests,
        rows=rows,
        timings=[
            StepRecord(step="build", seconds=60),
            StepRecord(step="boot machine 1", seconds=9.9),
            StepRecord(step="test limits::a", seconds=10),
            StepRecord(step="test limits::b", seconds=5),
        ],
        consoles=[ConsoleRecord(layer="xen", file="machine-1/console-xen.log", bytes=9, machine=1)],
    )


EVIL = "\x1b]0;hostile\x07\x1b[2J\x9b1m\x00 ]]> </pre><script> \u202e"


def poisoned() -> RunRecord:
    """A record in which every text is what a hostile guest might print."""

    def poison(value: object) -> object:
        if isinstance(value, str):
            return f"{value}{EVIL}"
        if isinstance(value, dict):
            return {name: poison(one) for name, one in value.items()}
        return [poison(one) for one in value] if isinstance(value, list) else value

    record = recorded()
    record.error = ErrorRecord(kind="MachineLost", message="lost", hint="look")
    record.notes = ["note"]
    record.tests[0].metrics = {f"cost{EVIL}": 1}
    record.coverage = [CoverageRecord(file="f.c", what="all", lines=2, covered=1, uncovered=[7])]
    fixed = {"started", "verdict"}  # made by the harness, and read back
    words = msgspec.to_builtins(record)
    words |= {name: poison(value) for name, value in words.items() if name not in fixed | {"tests"}}
    words["tests"] = [
        {name: value if name in fixed else poison(value) for name, value in test.items()}
        for test in words["tests"]
    ]
    return msgspec.convert(words, type=RunRecord)


def recorder(folder: Path) -> Recorder:
    """The recorder of a run in this process; nothing is written yet."""
    record = RunRecord(id="x", command=["evh", "run"], reproduce="evh run", started=now(), pid=os.getpid())
    return Recorder(run_dir=folder, record=record)


# What the server of the source tests has to offer.
CONTENT = b"a tarball, as it were" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


def known_base(tmp_path: Path, *versions: str) -> bases.Base:
    """A base with known Debian tarballs, but neither suites nor upstream to fall back on."""
    text = 'component = "xen"\nseries = "4.20"\n[debian]\npackage = "xen"\nsuites = []\n'
    for version in versions:
        text += f'[[debian.known]]\nversion = "{version}"\nsha256 = "{SHA}"\n'
    (tmp_path / "base.toml").write_text(text)
    return bases.load(tmp_path)


def xen_tree(path: Path, *, sub: int = 20) -> Path:
    """A folder that looks like the tree of Xen 4.SUB."""
    (path / "xen/common").mkdir(parents=True)
    (path / "xen/common/event_channel.c").write_text("mine\n")
    (path / "xen/Makefile").write_text(
        f"export XEN_VERSION = 4\nexport XEN_SUBVERSION = {sub}\n"
        "export XEN_EXTRAVERSION ?= .0$(XEN_VENDORVERSION)\n"
    )
    return path


def linux_tree(path: Path, *, version: str = "6.12.107") -> Path:
    """A folder that looks like a tree of Linux."""
    (path / "drivers/xen/events").mkdir(parents=True)
    (path / "drivers/xen/events/events_base.c").write_text("mine\n")
    major, minor, point = version.split(".")
    (path / "Makefile").write_text(f"VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = {point}\n")
    return path


def git(folder: Path, *words: str | Path) -> str:
    """The output of a git command in ``folder``."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ["git", "-C", str(folder), *identity, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def beside(work: Callable[[], object], *, until: Callable[[], bool], then: Callable[[], None]) -> None:
    """Do ``work`` in another thread; once ``until`` holds, do ``then``, and wait for the end of ``work``."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + 20
    while not until():
        assert time.monotonic() < end and thread.is_alive(), failure
        time.sleep(0.01)
    then()
    thread.join(30)
    if failure:
        raise failure[0]


class Held:
    """A lock of the store that this holds until ``close``."""

    def __init__(self, store: Store, name: str) -> None:
        self._lock = store.lock(name, what="x", say=print)
        self._lock.__enter__()

    def close(self) -> None:
        self._lock.__exit__(None, None, None)


def process(folder: Path, body: str) -> subprocess.Popen[str]:
    """Another process that says ``there`` and then waits for a line."""
    program = "import sys; from pathlib import Path; folder = Path(sys.argv[1])\n" + body
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "there\n"
    return child
