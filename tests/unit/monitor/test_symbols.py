# SPDX-License-Identifier: GPL-2.0-or-later
"""Source lines for call traces, from a real program with debug information."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.monitor.symbols import with_places

SOURCE = """\
static inline __attribute__((always_inline)) int inner(int x)
{
    return x / (x - 1);
}
int outer(int x)
{
    return inner(x) + 1;
}
int main(void) { return outer(3); }
"""
# Where Xen itself is linked to (xen/arch/x86/include/asm/config.h: XEN_VIRT_START).
BASE = 0xFFFF82D040200000


@pytest.fixture(scope="module")
def syms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("syms")
    (folder / "a.c").write_text(SOURCE)
    # Linked, not relocated, at Xen's address: addr2line sees what it sees in xen-syms.
    command = ["gcc", "-g", "-O1", "-c", "-mcmodel=kernel", "-fno-pie", "a.c"]
    subprocess.run(command, cwd=folder, check=True)
    link = ["ld", f"-Ttext={BASE:#x}", "-e", "main", "-o", "syms", "a.o"]
    subprocess.run(link, cwd=folder, check=True)
    return folder / "syms"


def address(syms: Path, symbol: str) -> int:
    table = subprocess.run(["nm", syms], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[0], 16) for line in table.splitlines() if line.split()[-1] == symbol)


def test_inlined_functions_and_their_callers_are_named(syms: Path) -> None:
    at = address(syms, "outer")
    # The division is inner's, inlined into outer: some address in there says so.
    trace = "".join(f"(XEN)    [<{at + n:016x}>] R outer+{n:#x}/0x20\n" for n in range(24))
    got = with_places(trace, syms=syms)
    assert " <- a.c:3 <- a.c:7" in got
    assert f"(XEN)    [<{at:016x}>] R outer+0x0/0x20" in got
    assert len(got.splitlines()) == 24


def test_return_address_is_looked_up_in_its_call(syms: Path) -> None:
    at = address(syms, "main")
    before = with_places(f"[<{at:016x}>] S main+0/0x9", syms=syms)
    exact = with_places(f"[<{at:016x}>] R main+0/0x9", syms=syms)
    assert exact.endswith("a.c:9") and not before.endswith("a.c:9")


@pytest.mark.parametrize(
    "text", ["", "[   1.0] Kernel panic - not syncing", "[<ffff82d0402ff427>] R far_away+0/1", "[<0000>] R x"]
)
def test_what_it_does_not_know_stays_as_it_is(syms: Path, text: str) -> None:
    assert with_places(text, syms=syms) == text


def test_missing_build_changes_nothing(tmp_path: Path) -> None:
    text = "[<ffff82d0402ff427>] R default_idle+0xc7/0xe0"
    assert with_places(text, syms=tmp_path / "nothing") == text
