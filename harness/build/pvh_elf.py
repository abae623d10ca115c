# SPDX-License-Identifier: GPL-2.0-or-later
"""A 32-bit PVH kernel and its initramfs as one ELF.

xl puts a guest's start info behind its modules. 32-bit Linux reads the memory
map in it when no more is mapped than 2 MiB behind its own end
(mk_early_pgtbl_32() in arch/x86/kernel/head32.c), so with a ramdisk of more
than that it faults before it can say a word. Here the initramfs is a segment
below the kernel instead, and the kernel is told by ``initrdmem=``. That is read
after memory was given out for the first time, so ``memmap=`` has it kept.
"""

from __future__ import annotations

import io

from elftools.construct.lib.container import Container
from elftools.elf.elffile import ELFFile

from harness.core.errors import InfraError

# Of a PC's memory: above what is not for us, below where the kernel starts.
PLACE = 4 << 20
SIZE = 5 << 20
ARGS = f"memmap={SIZE:#x}${PLACE:#x} initrdmem={PLACE:#x},{SIZE:#x}"

_READ = 4  # PF_R
_PAGE = 4096


def join(kernel: bytes, initrd: bytes) -> bytes:
    """The kernel with a segment more.

    Args:
        kernel: vmlinux of 32-bit x86.
        initrd: of at most SIZE bytes; what is left is filled with zeros, which Linux passes over.

    Raises:
        InfraError: one of them does not fit.
    """
    if kernel[:5] != b"\x7fELF\x01":
        raise InfraError("the guest's kernel is not a 32-bit ELF file", hint="This is a bug in the harness.")
    elf = ELFFile(io.BytesIO(kernel))
    segments = [segment.header for segment in elf.iter_segments()]
    lowest = min(segment.p_paddr for segment in segments if segment.p_type == "PT_LOAD")
    if len(initrd) > SIZE or lowest < PLACE + SIZE:
        raise InfraError(
            f"the guest's initramfs of {len(initrd) >> 20} MiB does not fit below its kernel at {lowest:#x}",
            hint="adjust SIZE in harness/build/pvh_elf.py.",
        )
    data = bytearray(kernel)
    data += bytes(-len(data) % _PAGE)
    added = Container(
        p_type="PT_LOAD", p_offset=len(data), p_vaddr=PLACE, p_paddr=PLACE,
        p_filesz=SIZE, p_memsz=SIZE, p_flags=_READ, p_align=_PAGE,
    )  # fmt: skip
    data += initrd + bytes(SIZE - len(initrd))
    header = elf.header
    header.e_phoff, header.e_phnum = len(data), len(segments) + 1
    # Loaded in order: the lowest first.
    for segment in (added, *segments):
        data += elf.structs.Elf_Phdr.build(segment)
    data[: header.e_ehsize] = elf.structs.Elf_Ehdr.build(header)
    return bytes(data)
