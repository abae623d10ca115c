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

import struct

from harness.core.errors import InfraError

# Of a PC's memory: above what is not for us, below where the kernel starts.
PLACE = 4 << 20
SIZE = 5 << 20
ARGS = f"memmap={SIZE:#x}${PLACE:#x} initrdmem={PLACE:#x},{SIZE:#x}"

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<IIIIIIII")
_PT_LOAD, _READ = 1, 4
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
        raise InfraError("the guest's kernel is no 32-bit ELF", hint="This is a bug in the harness.")
    header = list(_HEADER.unpack_from(kernel))
    phoff, phentsize, phnum = header[5], header[9], header[10]
    segments = [_SEGMENT.unpack_from(kernel, phoff + i * phentsize) for i in range(phnum)]
    lowest = min(paddr for kind, _, _, paddr, *_ in segments if kind == _PT_LOAD)
    if len(initrd) > SIZE or lowest < PLACE + SIZE:
        raise InfraError(
            f"the guest's initramfs of {len(initrd) >> 20} MiB does not fit below its kernel at {lowest:#x}",
            hint="make harness/pvhelf.py's SIZE fit.",
        )
    data = bytearray(kernel)
    data += bytes(-len(data) % _PAGE)
    # Loaded in order: the lowest first.
    segments.insert(0, (_PT_LOAD, len(data), PLACE, PLACE, SIZE, SIZE, _READ, _PAGE))
    data += initrd + bytes(SIZE - len(initrd))
    header[5], header[10] = len(data), len(segments)
    data += b"".join(_SEGMENT.pack(*segment) for segment in segments)
    _HEADER.pack_into(data, 0, *header)
    return bytes(data)
