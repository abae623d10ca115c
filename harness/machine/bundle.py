# SPDX-License-Identifier: GPL-2.0-or-later
"""Pack the bare guests into one module, from which dom0 builds domUs: a cpio archive ("newc").

Linux' Documentation/driver-api/early-userspace/buffer-format.rst describes the format.
The archive holds only names and contents, so that equal guests give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

MAGIC = b"070701"
FILE_MODE = 0o100644
END = "TRAILER!!!"


def write_bundle(path: Path, guests: Path) -> Path:
    """Write all ``bare-*`` files of a folder into an archive, sorted by name; returns ``path``."""
    kinds = sorted(file for file in guests.glob("bare-*") if file.is_file())
    path.write_bytes(newc({file.name: file.read_bytes() for file in kinds}))
    return path


def newc(files: dict[str, bytes]) -> bytes:
    """The archive of ``files``, in the order given."""
    parts = [entry(name, data, number) for number, (name, data) in enumerate(files.items(), 1)]
    return b"".join([*parts, entry(END, b"", 0)])


def entry(name: str, data: bytes, number: int) -> bytes:
    """One file: header, name and content, the last two padded to four bytes."""
    path = name.encode() + b"\0"
    fields = (
        number,  # inode
        FILE_MODE if number else 0,
        0, 0,  # uid, gid
        1,  # links
        0,  # mtime
        len(data),
        0, 0, 0, 0,  # device of the file; device number of a device node
        len(path),
        0,  # checksum, unused in newc
    )  # fmt: skip
    head = MAGIC + b"".join(b"%08x" % value for value in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
