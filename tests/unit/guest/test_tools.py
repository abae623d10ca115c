# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs of an in-guest tool: a recorded one is read; anything else is an error that says where."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import DEV_START, FREE, START, FakeSSH, FakeStream

from harness.core.errors import InfraError
from harness.guest import load, tools
from harness.guest.protocol import ProtocolError, ToolError
from harness.guest.tools import WAITS, ToolResult, abi_of, run_tool

PROGRESS = '{"ev":"progress","phase":"settle","done":1,"total":120}'
FULL_RING = (
    '{"ev":"error","what":"read","errno":"EFBIG","hint":"the kernel\'s ring overflowed: events are lost"}'
)


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


def test_a_tool_that_waits_for_events_is_told_for_how_long_on_this_host() -> None:
    """What a test says itself stands."""
    start = '{"ev":"start","tool":"evtchn-churn","seed":1}'
    zeros = dict.fromkeys(("opened", "closed", "sent", "seen", "lost", "duplicated", "dropped", "seconds"), 0)
    result = json.dumps({"ev": "result", **zeros})
    ssh = FakeSSH(*(FakeStream([start, result]) for _ in range(2)), time_scale=2.5)
    guest = SimpleNamespace(watchdog=None)
    run_tool(ssh, "evtchn-churn", "--ms", "9", timeout=10, beside=[guest])  # type: ignore[arg-type,list-item]
    run_tool(ssh, "evtchn-churn", "--patience-ms", "7", timeout=10)  # type: ignore[arg-type]
    assert ssh.commands == [
        "/opt/evh/tools/evtchn-churn --ms 9 --patience-ms=25000",
        "/opt/evh/tools/evtchn-churn --patience-ms 7",
    ]


def test_no_tool_waits_longer_for_an_event_than_it_may_be_silent() -> None:
    assert max(ms for options in WAITS.values() for ms in options.values()) < tools.SILENCE * 1000 / 2
    assert load.PATIENCE_MS < load.SILENCE * 1000 / 2
