# SPDX-License-Identifier: GPL-2.0-or-later
"""The hang report: what is asked, in which order, and how many reports a machine gets."""

from __future__ import annotations

import re
from pathlib import Path

from harness.core.layout import tool_command
from harness.monitor import hang_report


def test_xenstore_is_asked_last_since_that_may_wake_what_hangs(tmp_path: Path) -> None:
    asked: list[str] = []
    said: list[str] = []

    def note(what: str) -> str:
        asked.append(what)
        return f"answer to {what}\n\n"

    hang_report.write(
        tmp_path, "guest:a", ask_dom0=note, ask_xen=note, say=said.append, domids=(3, -1)
    )
    (file,) = tmp_path.iterdir()
    assert file.name == "hang-1-guest-a.txt"
    assert said == [f"guest:a hangs; the state of the machine is in {file}"]
    assert asked[-3:] == [hang_report.GUEST_KEYS, "xl list", "xenstore-ls -fp"]
    ports = [what for what in asked if "evtchn-status" in what]
    assert ports == [tool_command("evtchn-status", f"--domid={domid}") for domid in (0, 3)]
    titles = re.findall(r"^== (.*)$", file.read_text(), re.MULTILINE)
    assert (titles[0], titles[-1]) == ("hanging layer", "xenstore")
    assert all(f"answer to {what}\n" in file.read_text() for what in asked)


def test_dom0_that_hangs_is_not_asked(tmp_path: Path) -> None:
    asked: list[str] = []
    hang_report.write(
        tmp_path, "dom0", ask_dom0=None, ask_xen=lambda keys: asked.append(keys) or "dump",
        say=lambda text: None,
    )  # fmt: skip
    assert asked == [hang_report.DOM0_KEYS]
    assert (tmp_path / "hang-1-dom0.txt").read_text().endswith("== Xen's debug keys\ndump\n\n")


def test_what_was_heard_is_in_the_file_before_the_next_question(tmp_path: Path) -> None:
    """The machine may end, or the harness be killed, at any question."""
    there: list[bool] = []

    def look(keys: str) -> str:
        there.append("heard from dom0" in (tmp_path / "hang-1-guest-a.txt").read_text())
        return ""

    hang_report.write(
        tmp_path, "guest:a", ask_dom0=lambda what: "heard from dom0", ask_xen=look, say=lambda text: None
    )
    assert there == [True]


def test_only_the_first_hangs_of_a_machine_are_reported(tmp_path: Path) -> None:
    said: list[str] = []
    for layer in ("guest:a", "guest:b", "guest:a", "guest:c"):
        hang_report.write(tmp_path, layer, ask_dom0=None, ask_xen=lambda keys: "", say=said.append)
    assert len(said) == hang_report.MOST
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["hang-1-guest-a.txt", "hang-2-guest-b.txt", "hang-3-guest-a.txt"]
