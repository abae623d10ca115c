# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `evh read`."""

import json
from pathlib import Path

from typer.testing import CliRunner

from harness.cli.app import app

LOGS = Path(__file__).parents[1] / "logs"


def test_the_command() -> None:
    done = CliRunner().invoke(app, ["read", "--json", str(LOGS / "serial-xen-panic.raw")])
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["verdict"] == "crash" and document["files"][0]["crashes"][0]["layer"] == "xen"
    done = CliRunner().invoke(app, ["read", str(LOGS / "kunit64.log"), str(LOGS / "bare-pv64.log")])
    assert done.exit_code == 0 and done.stdout.endswith("pass\n")
    assert CliRunner().invoke(app, ["read", "--layer", "hypervisor", "-"]).exit_code == 2


def test_console_of_somebody_else_cannot_write_to_the_terminal(evh) -> None:
    Path("c.log").write_bytes(b"\x1b]0;title\x07BUG: \x1b[2Jhere\n")
    got = evh("read", "--layer", "dom0", "c.log")
    assert got.exit_code == 3 and "BUG: here" in got.output
    assert not {"\x1b", "\x07"} & set(got.output)
