# SPDX-License-Identifier: GPL-2.0-or-later
"""Line coverage of Xen's event channel code: gcov's counters out of a machine that has ended.

Xen hands its counters out by XEN_SYSCTL_coverage_op, to a dom0 that asks.
Here they are read out of the machine's memory instead, after the guest has
ended it and before QEMU goes: no guest has to help, so the same works for
32-bit ones, for tests that end in a panic, and adds no call to what is
measured. What Xen's common/coverage/gcc_4_7.c knows of gcc's structures is
here a second time for that.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from harness.core import process
from harness.core.errors import InfraError

# Where Xen keeps what it writes to, counters among it (arch/x86/xen.lds.S).
RWDATA = ("__2M_rwdata_start", "__2M_rwdata_end")
HEAD = "gcov_info_head"
# gcc/gcov-io.h
GCDA_MAGIC = 0x67636461
TAG_FUNCTION = 0x01000000
TAG_COUNTERS = 0x01A10000
# The file whose every line counts; of the others only what the series adds.
OWN_FILE = "event_3l.c"
SERIES_DIFF = "series.diff"


def symbols(syms: Path, names: Sequence[str]) -> dict[str, int]:
    """Addresses of symbols of an ELF file.

    Raises:
        InfraError: it lacks one.
    """
    with syms.open("rb") as file:
        table: Any = ELFFile(file).get_section_by_name(".symtab")
        found = {name: table.get_symbol_by_name(name) for name in names} if table else {}
    if missing := [name for name in names if not found.get(name)]:
        raise InfraError(
            f"{syms} has no {', '.join(missing)}", hint="Coverage needs a Xen that was built with it."
        )
    return {name: found[name][0]["st_value"] for name in names}


class Image:
    """Xen's memory: what was saved of a machine, and the file for what nobody writes to."""

    def __init__(self, syms: Path, memory: Path) -> None:
        names = symbols(syms, (*RWDATA, HEAD))
        self.head = names[HEAD]
        self._parts = [(names[RWDATA[0]], memory.read_bytes()), *segments(syms)]

    def bytes(self, address: int, size: int) -> bytes:
        """Raises: InfraError: it is neither saved nor in the file."""
        for start, data in self._parts:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise InfraError(
            f"nothing is known of {size} bytes at {address:#x} of Xen's memory",
            hint="gcc's structures may be other ones in this version: see gcov_info in Xen's gcc_4_7.c.",
        )

    def text(self, address: int) -> str:
        for start, data in self._parts:
            if start <= address < start + len(data):
                offset = address - start
                return data[offset : data.index(b"\0", offset)].decode()
        return ""

    def unpack(self, layout: str, address: int) -> tuple[Any, ...]:
        return struct.unpack(layout, self.bytes(address, struct.calcsize(layout)))


def segments(syms: Path) -> list[tuple[int, bytes]]:
    """Address and content of what an ELF file loads."""
    with syms.open("rb") as file:
        return [
            (segment["p_vaddr"], segment.data())
            for segment in ELFFile(file).iter_segments()
            if segment["p_type"] == "PT_LOAD"
        ]


def gcc_major(version: int) -> int:
    """Gcc's version out of gcov's: ``B22*`` is 12, ``A93*`` is 9 (gcc/gcov-io.h)."""
    letters = version.to_bytes(4, "big").decode("ascii", "replace")
    return (ord(letters[0]) - ord("A")) * 10 + int(letters[1])


def gcda_files(image: Image) -> Iterator[tuple[str, bytes]]:
    """Each object's name and what gcov wants in its .gcda file."""
    at = image.unpack("<Q", image.head)[0]
    while at:
        version, next_at, stamp, name = image.unpack("<I4xQI4xQ", at)
        major = gcc_major(version)
        kinds = 9 if major >= 14 else 8  # GCOV_COUNTERS, of gcc 10 and later
        merge = image.unpack(f"<{kinds}Q", at + 32)
        count, functions = image.unpack("<I4xQ", at + 32 + 8 * kinds)
        active = [kind for kind, function in enumerate(merge) if function]
        unit = 4 if major >= 12 else 1  # lengths are in bytes since gcc 12, in words before
        out = [struct.pack("<III", GCDA_MAGIC, version, stamp), b"\0\0\0\0" if major >= 12 else b""]
        for pointer in image.unpack(f"<{count}Q", functions):
            ident, lines, cfg = image.unpack("<8xIII", pointer)
            out.append(struct.pack("<IIIII", TAG_FUNCTION, 3 * unit, ident, lines, cfg))
            for place, kind in enumerate(active):
                number, values = image.unpack("<I4xQ", pointer + 24 + 16 * place)
                out.append(struct.pack("<II", TAG_COUNTERS + (kind << 17), number * 2 * unit))
                out.append(image.bytes(values, 8 * number))
        yield image.text(name), b"".join(out)
        at = next_at


@dataclass(frozen=True, kw_only=True)
class FileCoverage:
    """Lines of one source file.

    Attributes:
        file: its name.
        what: which of its lines are looked at.
        lines, covered: how many have code, and how many of these ran.
        uncovered: number and text of the others.
    """

    file: str
    what: str
    lines: int
    covered: int
    uncovered: tuple[tuple[int, str], ...]


def measure(*, syms: Path, notes: Path, memories: Sequence[Path], work: Path) -> list[FileCoverage]:
    """Merge what several machines ran.

    Args:
        syms: ``xen-syms`` of the coverage build.
        notes: its folder ``coverage``.
        memories: what ``Rescue`` saved.
        work: an empty folder.

    Raises:
        InfraError: gcov is missing, or does not understand its input.
    """
    counts: dict[str, dict[int, int]] = {}
    for number, memory in enumerate(memories):
        folder = work / str(number)
        folder.mkdir()
        for name, data in gcda_files(Image(syms, memory)):
            stem = Path(name).stem
            if (notes / f"{stem}.gcno").exists() and Path(name).parent.name == "common":
                (folder / f"{stem}.gcda").write_bytes(data)
                shutil.copyfile(notes / f"{stem}.gcno", folder / f"{stem}.gcno")
                for file, lines in gcov(folder, stem).items():
                    into = counts.setdefault(file, {})
                    for line, hits in lines.items():
                        into[line] = into.get(line, 0) + hits
    diff = notes / SERIES_DIFF
    added = added_lines(diff.read_text()) if diff.exists() else {}
    found = []
    for source in sorted(notes.glob("*.c")):
        ran = counts.get(source.name, {})
        if source.name != OWN_FILE:
            ran = {line: hits for line, hits in ran.items() if line in added.get(source.name, ())}
        text = source.read_text().splitlines()
        if ran:
            found.append(
                FileCoverage(
                    file=f"common/{source.name}",
                    what="all" if source.name == OWN_FILE else "what the series adds",
                    lines=len(ran),
                    covered=sum(hits > 0 for hits in ran.values()),
                    uncovered=tuple((n, text[n - 1].strip()) for n, hits in sorted(ran.items()) if not hits),
                )
            )
    return found


def gcov(folder: Path, stem: str) -> dict[str, dict[int, int]]:
    """What gcov says of one object: hits of each line of each ``.c`` file in it."""
    program = process.need("gcov", package="gcc")
    done = subprocess.run(
        [program, "--json-format", "--stdout", f"{stem}.gcda"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode or "version mismatch" in done.stderr or not done.stdout.strip():
        raise InfraError(
            f"gcov does not understand {stem}: {done.stderr.strip()}",
            hint="gcov must be of the gcc that built Xen.",
        )
    hits: dict[str, dict[int, int]] = {}
    for file in json.loads(done.stdout)["files"]:
        name = Path(file["file"]).name
        if name.endswith(".c"):
            lines = hits.setdefault(name, {})
            for line in file["lines"]:
                lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
    return hits


def added_lines(diff: str) -> dict[str, set[int]]:
    """Line numbers that a diff without context adds, by the file's name."""
    added: dict[str, set[int]] = {}
    lines: set[int] = set()
    for line in diff.splitlines():
        if name := re.match(r"\+\+\+ b/(?:.*/)?([^/]+)$", line):
            lines = added.setdefault(name[1], set())
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            lines.update(range(int(hunk[1]), int(hunk[1]) + int(hunk[2] or 1)))
    return added


def write_listing(path: Path, files: Sequence[FileCoverage]) -> None:
    """What is not covered, line by line, for a person."""
    parts = []
    for file in files:
        share = 100 * file.covered / file.lines
        parts.append(f"{file.file} ({file.what}): {file.covered} of {file.lines} lines, {share:.1f} %")
        parts += [f"  {file.file}:{number}: {text}" for number, text in file.uncovered]
    path.write_text("\n".join(parts) + "\n")

