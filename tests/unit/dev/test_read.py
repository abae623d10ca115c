# SPDX-License-Identifier: GPL-2.0-or-later
"""`evh read` on consoles recorded from real machines."""

import gzip
import io
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.core.errors import UserError
from harness.core.records import Verdict
from harness.dev.read import Reading, judge, read_files, text_of, worst
from harness.monitor.knownissues import KnownIssue, KnownIssues

LOGS = Path(__file__).parents[1] / "logs"


def reading(name: str, layer: str = "") -> Reading:
    (one,) = read_files([str(LOGS / name)], layer=layer)
    return one


@pytest.mark.parametrize(
    ("name", "verdict", "reason"),
    [
        ("serial-boot.raw", Verdict.PASS, ""),
        ("serial-dom0-panic.raw", Verdict.CRASH, "dom0: "),
        ("serial-xen-panic.raw", Verdict.CRASH, "xen: (XEN) "),
        ("bare-pv64.log", Verdict.PASS, ""),
        ("bare-ubsan.log", Verdict.CRASH, "xen: "),
        ("kunit64.log", Verdict.PASS, ""),
        ("kunit64-red.log", Verdict.FAIL, "failed: xen-events-3l"),
    ],
)
def test_recorded_consoles(name: str, verdict: Verdict, reason: str) -> None:
    one = reading(name)
    assert (one.verdict, one.reason.startswith(reason)) == (verdict, True), one.reason


def test_a_serial_line_is_split_by_layer_and_the_report_has_its_lines() -> None:
    one = reading("serial-dom0-panic.raw")
    assert set(one.layers) == {"xen", "dom0"} and min(one.layers.values()) > 50
    crash = one.crashes[0]
    assert crash.severity == "panic" and len(crash.lines) > 5
    assert all(not line.startswith("(XEN)") for line in crash.lines)


def test_the_same_text_by_a_guest_is_the_guests() -> None:
    one = reading("serial-dom0-panic.raw", layer="guest")
    assert one.crashes[0].layer == "guest"


def test_results_are_a_tree() -> None:
    shown = text_of([reading("kunit64-red.log")])
    assert "\n    not ok xen-events-3l" in shown and "\n      not ok order" in shown
    assert "ASSERTION FAILED" in shown


def test_results_that_end_early_are_a_crash() -> None:
    whole = (LOGS / "kunit64.log").read_bytes()
    cut = whole[: whole.index(b"ok 3 order")]
    one = judge("cut", cut, layer="", known=KnownIssues())
    assert one.verdict is Verdict.CRASH and "ended early" in one.reason


def test_the_harness_own_merged_log_keeps_its_layers() -> None:
    text = b"[    1.500] xen: (XEN) a\n[    9.000] guest:a: [ 1.0] BUG: scheduling while atomic: x\n"
    one = judge("consoles.log", text, layer="", known=KnownIssues())
    assert one.layers == {"xen": 1, "guest:a": 1} and one.crashes[0].layer == "guest:a"


def test_a_known_issue_does_not_count() -> None:
    import datetime

    known = KnownIssue(layer="guest", pattern="BUG: sched", why="x", until=datetime.date(2999, 1, 1))
    text = b"[ 1.0] BUG: scheduling while atomic: x\n"
    one = judge("a", text, layer="guest:a", known=KnownIssues([known]))
    assert one.verdict is Verdict.PASS and one.crashes[0].known
    assert "warning of guest:a, known" in text_of([one])


def test_nothing_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert worst(read_files(["-"])) is Verdict.SKIP


def test_escapes_do_not_reach_the_terminal() -> None:
    one = judge("a", b"\x1b]0;title\x07BUG: \x1b[31mred\n", layer="guest", known=KnownIssues())
    assert "\x1b" not in text_of([one]) and "\x07" not in text_of([one])


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(UserError, match="Is a directory"):
        read_files([str(LOGS)])


def verdict_of(text: bytes, layer: str = "") -> Verdict:
    return judge("a", text, layer=layer, known=KnownIssues()).verdict


def test_a_recording_of_the_serial_port_that_starts_late() -> None:
    one = judge("a", b"Kernel panic - not syncing: x\n(XEN) hello\n", layer="", known=KnownIssues())
    assert (one.verdict, one.crashes[0].layer) == (Verdict.CRASH, "dom0")


def test_a_failure_below_a_result_that_is_ok_and_tests_that_were_all_skipped() -> None:
    nested = b"KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  not ok 1 x\nok 1 s\n"
    assert verdict_of(nested) is Verdict.FAIL
    assert verdict_of(b"KTAP version 1\n1..1\nok 1 a # SKIP no CPU\n") is Verdict.SKIP


def test_a_good_file_does_not_make_an_empty_one_good(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "good").write_text("Linux version 6\n")
    assert worst(read_files([str(tmp_path / "good"), str(tmp_path / "empty")])) is Verdict.SKIP


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"Kernel panic"), "Kernel panic\n".encode("utf-16"), b"\0" * 64],
    ids=["gzip", "utf-16", "zeros"],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "log").write_bytes(data)
    with pytest.raises(UserError, match="not a console's text"):
        read_files([str(tmp_path / "log")])


def test_no_standard_input_and_a_name_that_is_no_utf_8(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match="cannot read -"):
        read_files(["-"])
    name = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.log")
    Path(name).write_text("Linux version 6\n")
    done = CliRunner().invoke(app, ["read", "--json", name])
    assert done.exit_code == 0, done.output
