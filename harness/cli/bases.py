# SPDX-License-Identifier: GPL-2.0-or-later
"""The command ``bases``."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table


def bases() -> None:
    """List the versions of Xen and Linux that can be built by name (--xen, --linux).

    A base is a folder below xen-patches/ or guest-patches/; docs/building.md says how to add one.
    """
    from harness.source.bases import every

    table = Table(box=None, pad_edge=False)
    for name in ("option", "version", "patches", "fragments", "first source"):
        table.add_column(name, overflow="fold")
    for component in ("xen", "linux"):
        for base in every(component):
            file = base.file
            known = file.debian.known if file.debian else ()
            if known and file.debian:
                source = f"Debian {file.debian.package} {known[0].version}"
            elif file.debian:
                source = f"Debian {file.debian.package} in {', '.join(file.debian.suites)}"
            else:
                source = f"{file.upstream[0].url} {file.upstream[0].version}"
            table.add_row(
                f"--{component} {base.folder.name}",
                file.series + (" (default)" if file.default else ""),
                str(len(base.patches())),
                file.config or base.folder.name,
                source,
            )
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
