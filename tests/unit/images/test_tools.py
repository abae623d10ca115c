# SPDX-License-Identifier: GPL-2.0-or-later
"""The in-guest tools themselves, as far as they run without Xen: they report errors as JSON."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.core.paths import CHECKOUT
from harness.source.interfaces import packaged

TOOLS = Path(__file__).parents[3] / "images" / "tools"


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
        ("renew", "EINVAL"),
        ("renew --time soon", "EINVAL"),
        ("renew --time 1", "EINVAL"),
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


def test_bare_guests_and_tools_know_the_same_interface_versions() -> None:
    images = CHECKOUT / "images"
    abi = (images / "tools/xenabi.h").read_text()
    its = packaged(images)
    for name, packaged_version in (("domctl", its.domctl), ("sysctl", its.sysctl)):
        bare = (images / f"bare/domu/{name}.c").read_text()
        known = re.findall(r"known\[\] = \{ (.*) \};", bare)
        assert re.findall(rf"XEN_{name.upper()}_INTERFACE_VERSIONS \{{ (.*) \}}", abi) == known
        assert packaged_version in [int(version, 0) for version in known[0].split(", ")]


def test_same_work_is_timed_each_time(built: Path) -> None:
    said = [subprocess.run([built / "cpu-speed"], check=True, capture_output=True).stdout for _ in range(2)]
    lines = [json.loads(text.splitlines()[-1]) for text in said]
    assert [line["ev"] for line in lines] == ["result", "result"]
    assert lines[0]["sum"] == lines[1]["sum"] != 0
    # Some 20 million steps, each of which waits for the one before: not optimised away, on any host.
    assert all(line["ns"] > 1_000_000 for line in lines)
