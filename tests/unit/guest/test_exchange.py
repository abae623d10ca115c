# SPDX-License-Identifier: GPL-2.0-or-later
"""The tool protocol: recorded lines are parsed; anything else is refused with an error that says where."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from harness.core.errors import InfraError
from harness.guest.exchange import Peer, Server, exchange
from harness.guest.protocol import Lines, Ports, ProtocolError, RawResult, ToolError
from harness.guest.tools import ToolResult, abi_of, run_tool

TOOLS = Path(__file__).parents[3] / "images" / "tools"

# Recorded from Xen 4.20 with Linux 6.12 under TCG.
START = '{"ev":"start","tool":"xen-free"}'
FREE = (
    '{"ev":"result","free_pages":256092,"total_pages":524155,"scrub_pages":0,'
    '"mem_free_kib":908944,"mem_available_kib":912828,"slab_kib":5512}'
)
DEV_START = '{"ev":"start","tool":"evtchn-dev","seed":1}'
PROGRESS = '{"ev":"progress","phase":"settle","done":1,"total":120}'
FULL_RING = (
    '{"ev":"error","what":"read","errno":"EFBIG","hint":"the kernel\'s ring overflowed: events are lost"}'
)
PORTS = '{"ev":"ports","opened":100,"refused":null,"open_ns":2198790,"ranges":[[17,113],[115,117]]}'
SERVED = (
    '{"ev":"result","mode":"serve","opened":100,"refused":null,"seen":99,"lost":1,"duplicated":0,"unknown":0,'
    '"early":0,"mem_free_before_kib":222560,"mem_free_open_kib":222340,"seconds":3.456}'
)
PEER_START = '{"ev":"start","tool":"evtchn-peer","seed":7}'
PEER_END = '{"ev":"result","bound":100,"sent":99,"send_failed":0,"send_ns":1585,"seconds":3.598}'


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

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FakeSSH:
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


def run(*lines: str, tool: str = "xen-free", **end: Any) -> ToolResult:
    return run_tool(FakeSSH(FakeStream(list(lines), **end)), tool, timeout=10)  # type: ignore[arg-type]


def test_a_recorded_run_is_read() -> None:
    result = run(START, PROGRESS, FREE)
    assert result.result.free_pages == 256092
    assert result.result.slab_kib == 5512
    assert [p.phase for p in result.progress] == ["settle"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "ended without"),
        ([START], "ended without"),
        ([FREE], "first line is not a start line"),
        ([START, START, FREE], "second start line"),
        ([START, FREE, FREE], "a line after its result"),
        ([START, "Killed"], "Killed"),
        ([START, FREE[:-20]], "cannot parse"),
        ([START, FREE.replace("256092", '"256092"')], "cannot parse"),
        ([START, FREE.replace('"slab_kib"', '"slab"')], "cannot parse"),
        ([START, FREE.replace("}", ',"more":1}')], "more"),
        ([DEV_START, FREE], "evtchn-dev"),
    ],
)
def test_nonsense_is_refused_and_is_our_fault(lines: list[str], says: str) -> None:
    with pytest.raises(ProtocolError, match=says) as error:
        run(*lines)
    assert "xen-free in dom0" in str(error.value)
    assert error.value.exit_code == 4
    assert "console" in error.value.hint


def test_an_error_line_is_theirs_and_keeps_errno() -> None:
    with pytest.raises(ToolError, match=r"evtchn-dev in dom0: read \(EFBIG\)") as error:
        run(DEV_START, FULL_RING, tool="evtchn-dev", rc=1)
    assert not isinstance(error.value, ProtocolError)
    assert error.value.errno == "EFBIG"
    assert error.value.exit_code == 1
    assert "ring overflowed" in error.value.hint
    assert "console" in error.value.hint


@pytest.mark.parametrize("lines", [[START, FREE], [START], []])
def test_a_bad_exit_status_is_told_with_stderr(lines: list[str]) -> None:
    with pytest.raises(ToolError, match="status 139: segmentation fault"):
        run(*lines, rc=139, err="segmentation fault\n")


def test_ranges_come_as_pairs() -> None:
    lines = Lines(
        iter([DEV_START, PORTS]),
        tool="evtchn-dev",
        where="g",
        result=RawResult,
        others=(Ports,),
    )
    assert lines.expect(Ports).ranges == [(17, 113), (115, 117)]


def test_an_exchange_is_led_in_order() -> None:
    served = FakeStream(
        [
            DEV_START,
            PORTS,
            '{"ev":"drained","early":0}',
            '{"ev":"arrived","total":99}',
            SERVED,
        ]
    )
    peered = FakeStream(
        [
            PEER_START,
            '{"ev":"bound","bound":100,"bind_ns":9}',
            '{"ev":"sent","sent":99,"send_failed":0}',
            PEER_END,
        ]
    )
    guest, dom0 = FakeSSH(served, name="guest:g", time_scale=2.0), FakeSSH(peered)
    seen: list[Ports] = []
    x = exchange(
        guest,
        dom0,
        receiver_domid=3,
        count=None,
        seed=7,
        timeout=10,
        when_open=seen.append,
    )  # type: ignore[arg-type]
    assert (x.sent.sent, x.served.seen, x.served.lost) == (99, 99, 1)
    assert [p.opened for p in seen] == [100]
    assert peered.told == ["bind 17-113,115-117\n", "send\n", "close\n"]
    # time_scale lengthens waits on a slower machine.
    assert served.told == ["drain\n", "await 99 20000\n", "count 600\n"]
    assert guest.commands == ["/opt/evh/tools/evtchn-dev serve --remote=0 --count=max"]
    assert dom0.commands == ["/opt/evh/tools/evtchn-peer --remote=3 --seed=7 --break=none"]
    assert served.closed and peered.closed


def test_a_conversation_that_breaks_off_is_closed_on_both_sides() -> None:
    served, peered = (
        FakeStream([DEV_START, PORTS]),
        FakeStream([PEER_START, '{"ev":"error","what":"x","errno":null,"hint":null}']),
    )
    with pytest.raises(ToolError, match="evtchn-peer in dom0: x"):
        exchange(FakeSSH(served), FakeSSH(peered), receiver_domid=3, count=1, timeout=10)  # type: ignore[arg-type]
    assert served.closed and peered.closed


def test_the_talkers_refuse_a_line_out_of_turn() -> None:
    server = Server(
        FakeSSH(FakeStream([DEV_START, '{"ev":"drained","early":0}'])),
        remote=0,
        count=1,
        timeout=1,
    )  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="expected a line 'ports'"):
        server.ports()
    peer = Peer(FakeSSH(FakeStream([PEER_START, PEER_END])), remote=1, seed=1, timeout=1)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="expected a line 'sent'"):
        peer.send()


@pytest.mark.parametrize(
    ("log", "abi"),
    [
        ("[    0.542219] xen:events: Using FIFO-based ABI", "fifo"),
        ("[    0.542219] xen:events: Using 2-level ABI, 4096 ports", "2l"),
        ("[    0.5] xen:events: Using 3-level ABI, 524288 ports", "3l"),
    ],
)
def test_the_kernel_tells_its_abi(log: str, abi: str) -> None:
    assert abi_of(FakeSSH(FakeStream(["x", log, "y"]))) == abi  # type: ignore[arg-type]


def test_a_kernel_that_does_not_tell_is_an_error() -> None:
    with pytest.raises(InfraError, match="names no known event channel ABI"):
        abi_of(FakeSSH(FakeStream(["Linux"])))  # type: ignore[arg-type]


# --- the tools themselves, as far as they run without Xen: they report errors as JSON -----------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    out = tmp_path_factory.mktemp("tools")
    for source in TOOLS.glob("*.c"):
        flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-static"]
        subprocess.run(["gcc", *flags, "-o", out / source.stem, source], check=True)
    return out


@pytest.mark.parametrize(
    ("command", "errno"),
    [
        ("evtchn-raw --seed 1x", "EINVAL"),
        ("evtchn-raw --count 524289", "EINVAL"),
        ("evtchn-raw --count -1", "EINVAL"),
        ("evtchn-raw --break overflow", "EINVAL"),
        ("evtchn-raw --unknown", "EINVAL"),
        ("evtchn-dev", "EINVAL"),
        ("evtchn-dev dance", "EINVAL"),
        ("evtchn-dev serve --break lose", "EINVAL"),
        ("evtchn-peer", "EINVAL"),
        ("evtchn-status --limit 0", "EINVAL"),
        ("xen-free", "ENOENT"),
        ("evtchn-raw", "ENOENT"),
        ("evtchn-dev loopback", "ENOENT"),
        ("evtchn-peer --remote 1", "ENOENT"),
    ],
)
def test_a_tool_that_cannot_says_so_in_json(built: Path, command: str, errno: str) -> None:
    if errno == "ENOENT" and Path("/dev/xen").exists():
        pytest.skip("this host is a Xen domain")
    words = command.split()
    done = subprocess.run(
        [built / words[0], *words[1:]],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["ev"], last["errno"]) == ("error", errno)
    assert last["what"] and last["hint"]
