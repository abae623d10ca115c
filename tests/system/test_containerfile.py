# SPDX-License-Identifier: GPL-2.0-or-later
"""The RUN lines of ci/Containerfile, in a chroot of the Debian that it names, and what a runner does then."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from harness.core.paths import CHECKOUT
from harness.source import apt

DEBIAN = {"13": "trixie"}
# What jobs need: the tools of ci/ and of `make setup`, and those of a build and a boot.
PROGRAMS = (
    "git", "make", "python3", "gcc", "flex", "bison", "mmdebstrap", "mke2fs", "qemu-system-x86_64",
    "qemu-img",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="mmdebstrap's hooks need root here, as in the container"),
]


def lines() -> list[tuple[str, str]]:
    """Instruction and rest of each line."""
    text = (CHECKOUT / "ci/Containerfile").read_text()
    found = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, rest in found]


def test_run_lines_make_a_root_in_which_a_job_can_start(tmp_path: Path) -> None:
    hooks, release = [], ""
    for word, rest in lines():
        if word == "FROM":
            release = re.fullmatch(r"docker\.io/library/debian:(\d+)", rest)[1]
        elif word == "COPY":
            *sources, target = rest.split()
            hooks.append(f'mkdir -p "$1{target}"')
            for name in sources:  # of a folder, COPY takes the contents
                end = "/." if (CHECKOUT / name).is_dir() else ""
                hooks.append(f'cp -a {shlex.quote(str(CHECKOUT / name) + end)} "$1{target}"')
        elif word == "RUN":
            hooks.append(f'chroot "$1" /bin/sh -ec {shlex.quote(rest)}')
        else:
            assert word == "WORKDIR"
    # A container's checkout is its own; the venv module is what `make setup` begins with.
    check = " && ".join(f"command -v {program}" for program in PROGRAMS)
    hooks.append(f'chroot "$1" /bin/sh -ec {shlex.quote(check + " && python3 -m venv /tmp/venv")}')
    hooks.append(f'cp {shlex.quote(str(CHECKOUT / "ci/runner-check"))} "$1/runner-check"')
    hooks.append('chroot "$1" /runner-check --disk 0 --memory 0')
    mirror = apt.mirror()
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", *(f"--customize-hook={hook}" for hook in hooks),
        DEBIAN[release], "/dev/null", *([mirror.line(DEBIAN[release])] if mirror else []),
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("w") as out:
        code = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"TMPDIR": str(tmp_path)}
        ).returncode
    said = log.read_text()
    assert code == 0, said[-4000:]
    assert "Missing system packages:" in said and "user namespaces: not needed by root" in said
