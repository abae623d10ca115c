# SPDX-License-Identifier: GPL-2.0-or-later
"""A small tree that builds like Xen into a program, which is run in place of a machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.core.records import Verdict
from harness.validate.behave import Part, Ran
from harness.validate.building import Facts
from harness.validate.judge import CellResult

MAKEFILE = """\
XEN_VERSION = 4
XEN_SUBVERSION = 20
O ?= .
all: $(O)/xen-syms
	gzip -c $(O)/xen-syms >$(O)/xen.gz
olddefconfig:
	@test -e $(O)/.config
$(O)/xen-syms: common/event_channel.c
	gcc -g -O1 -Wall -static -o $@ $<
"""
# Line 5 says how often events arrive, line 6 what a send costs.
CODE = """\
#include <stdio.h>
struct evtchn { int a[4]; } one;
int main(void)
{
    int seen = 1;
    int cost = 1000;
    one.a[0] = seen;
    printf("once %s\\n", seen == 1 ? "pass" : "fail");
    printf("bound %s\\n", one.a[1] == 0 ? "pass" : "crash");
    printf("new %s\\n", one.a[2] == 7 ? "pass" : "fail");
    printf("metric send %d\\n", cost);
    return 0;
}
"""


class ProgramRunner:
    """Runs a build as a program, whose lines are cells and metrics; counts how often."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []

    def __call__(self, part: Part, facts: Facts) -> Ran:
        self.ran.append((part.suite, facts.summary))
        with tempfile.TemporaryDirectory() as folder:
            program = shutil.copy(facts.artifact.path / "xen-syms", folder)
            Path(program).chmod(0o755)
            said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        words = [line.split() for line in said.splitlines()]
        metrics = {name: int(value) for kind, name, value in (w for w in words if len(w) == 3)}
        cells = [
            CellResult(
                id=f"base/release/bare-pv64/3l/{part.suite}::{name}/1",
                verdict=Verdict(verdict),
                reason="" if verdict == "pass" else f"{name} is wrong",
                evidence="" if verdict == "pass" else f"<b>the console of {name}</b>",
                metrics=metrics if part.suite == "bench" else {},
            )
            for name, verdict in (w for w in words if len(w) == 2)
        ]
        return Ran(
            cells=tuple(cells),
            folder=facts.artifact.path,
            hit=False,
            accelerator="tcg",
            seconds=0.1,
        )
