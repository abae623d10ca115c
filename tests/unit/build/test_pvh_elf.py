# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel and its initramfs as one ELF, read back by readelf."""

import re
import struct
import subprocess
from pathlib import Path

import pytest

from harness.build import pvh_elf
from harness.core.errors import InfraError


def kernel(paddr: int = 16 << 20) -> bytes:
    text = b"kernel" * 100
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head = struct.pack("<16sHHIIIIIHHHHHH", ident, 2, 3, 1, paddr, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 84, 0xC0000000 + paddr, paddr, len(text), len(text) + 5000, 7, 4096)
    return head + segment + text


def test_the_initramfs_is_a_segment_below_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "elf"
    path.write_bytes(joined := pvh_elf.join(kernel(), b"initramfs"))
    said = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    loads = re.findall(r"LOAD +(0x\w+) (0x\w+) (0x\w+) (0x\w+) (0x\w+)", said)
    (offset, _, low, size, _), (at, _, high, _, memory) = ([int(n, 16) for n in load] for load in loads)
    assert (low, size) == (pvh_elf.PLACE, pvh_elf.SIZE)
    assert f"memmap={size:#x}${low:#x} initrdmem={low:#x},{size:#x}" == pvh_elf.ARGS
    assert joined[offset : offset + size].rstrip(b"\0") == b"initramfs"
    assert (high, memory) == (16 << 20, 5600)
    assert joined[at : at + 6] == b"kernel"


@pytest.mark.parametrize(
    ("image", "initrd"),
    [(b"\x7fELF\x02", b""), (kernel(), bytes(pvh_elf.SIZE + 1)), (kernel(paddr=6 << 20), b"")],
)
def test_what_does_not_fit_is_refused(image: bytes, initrd: bytes) -> None:
    with pytest.raises(InfraError):
        pvh_elf.join(image, initrd)
