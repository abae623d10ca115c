# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build consists of: hashes of all that is loaded, its size, and the sizes of structs.

Two builds with equal hashes behave alike: nothing that a processor, Xen or Linux reads of them differs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section

from harness.core import process
from harness.core.errors import InfraError
from harness.store.hashes import digest

STRUCTS = {"xen": ("domain", "vcpu", "evtchn"), "linux": ()}
# Made of all else, debug information and paths included, so that it differs where nothing else does.
BUILD_ID = ".note.gnu.build-id"


def sections(path: Path) -> dict[str, str]:
    """SHA-256 of each allocated section of an ELF file, and of the relocations that apply to one.

    Alternatives, exception tables and bug frames are sections, too, or parts of some. The build id is left
    out. A relocation counts with the name of its symbol, since numbers of symbols shift.

    Raises:
        InfraError: it is no ELF file.
    """
    found: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            for section in elf.iter_sections():
                if section.name == BUILD_ID:
                    continue
                if section["sh_flags"] & SH_FLAGS.SHF_ALLOC:
                    _add(found, section.name, _content(section))
                elif isinstance(section, RelocationSection):
                    target = elf.get_section(section["sh_info"])
                    if target["sh_flags"] & SH_FLAGS.SHF_ALLOC and target.name != BUILD_ID:
                        _add(found, section.name, _relocations(elf, section))
    except Exception as error:  # pyelftools raises what it pleases
        raise InfraError(f"{path} is not an ELF file: {error}", hint="Look at its build.log.") from error
    return found


def _add(found: dict[str, str], name: str, content: bytes) -> None:
    """Several sections may have one name."""
    while name in found:
        name += "+"
    found[name] = hashlib.sha256(content).hexdigest()


def _content(section: Section) -> bytes:
    head = (
        f"{section['sh_addr']:x} {section['sh_size']:x} {section['sh_flags']:x} {section['sh_addralign']}\n"
    )
    data: bytes = b"" if section["sh_type"] == "SHT_NOBITS" else section.data()
    return head.encode() + data


def _relocations(elf: ELFFile, section: RelocationSection) -> bytes:
    symbols: Any = elf.get_section(section["sh_link"])
    lines = []
    for one in section.iter_relocations():
        symbol = symbols.get_symbol(one["r_info_sym"])
        name, place = symbol.name, symbol["st_shndx"]
        if not name and isinstance(place, int):
            name = elf.get_section(place).name
        addend = one["r_addend"] if "r_addend" in one.entry else 0
        lines.append(f"{one['r_offset']:x} {one['r_info_type']} {addend:x} {name}+{symbol['st_value']:x}\n")
    return "".join(sorted(lines)).encode()


def summary(hashes: Mapping[str, str]) -> str:
    """One hash of all sections."""
    return digest("".join(f"{name} {value}\n" for name, value in sorted(hashes.items())))


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names of sections that differ, or that only one of the builds has."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def text_size(path: Path) -> int:
    """Bytes of code: of all allocated sections that are executable."""
    wanted = SH_FLAGS.SHF_ALLOC | SH_FLAGS.SHF_EXECINSTR
    with path.open("rb") as file:
        return sum(one["sh_size"] for one in ELFFile(file).iter_sections()
                   if one["sh_flags"] & wanted == wanted)  # fmt: skip


def struct_sizes(path: Path, structs: Iterable[str]) -> dict[str, int]:
    """Bytes of each struct, from a program's debug information, as gdb reads it; some may be missing."""
    names = list(structs)
    if not names or process.find("gdb") is None:
        return {}
    words = [word for name in names for word in ("-ex", f'printf "{name} %d\\n", sizeof(struct {name})')]
    # A struct that is not there makes gdb fail in the end, and says nothing about the others.
    gdb = ["sh", "-c", 'gdb "$@" || true', "sh", "-nx", "-batch", "-iex", "set auto-load off"]
    said = process.run([*gdb, *words, path], what=f"measure structs of {path.name}")
    return {name: int(size) for name, size in re.findall(r"^(\w+) (\d+)$", said, re.MULTILINE)}
