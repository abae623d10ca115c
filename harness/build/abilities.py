# SPDX-License-Identifier: GPL-2.0-or-later
"""What a build lacks that a test may ask for, found in the build itself and not in its version."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from harness.build.kconfig import kept_wishes, values
from harness.core.records import LINUX_3L, LINUX_EVENTS, LINUX_TEST, PV32, SHADOW, XEN_3L, Source
from harness.store.artifacts import Artifact

# For each ability of Xen and of Linux: what it is called in a sentence, and the Kconfig symbol that it needs.
OF_XEN = {
    XEN_3L: ("3-level ABI", "CONFIG_EVTCHN_3LEVEL"),
    PV32: ("32-bit PV guests", "CONFIG_PV32"),
    SHADOW: ("shadow paging", "CONFIG_SHADOW_PAGING"),
}
OF_LINUX = {LINUX_TEST: ("xen_evtchn_test in debugfs", "CONFIG_XEN_EVTCHN_TEST")}
# The others have no symbol of Kconfig, but a function each, which the series adds (xen_evtchn_3l_init() is in
# drivers/xen/events/events_3l.c, xen_events_debugfs_init() in events_base.c).
FUNCTIONS = {
    LINUX_3L: ("3-level ABI", b"xen_evtchn_3l_init"),
    LINUX_EVENTS: ("xen/events in debugfs", b"xen_events_debugfs_init"),
}


def lacking(artifacts: Mapping[str, Artifact], sources: Mapping[str, Source]) -> dict[str, str]:
    """For each ability that the build does not have, why, for the tests that need it.

    Args:
        artifacts: by kind; what was not built lacks nothing.
    """
    lacks: dict[str, str] = {}
    for kind, title, abilities in (("xen", "Xen", OF_XEN), ("linux", "Linux", OF_LINUX)):
        if kind not in artifacts or f"{kind}.config" not in artifacts[kind].files:
            continue
        folder = artifacts[kind].path
        version = sources[kind].version if kind in sources else ""
        name = f"{title} {version}".strip()
        got = values((folder / f"{kind}.config").read_text())
        wishes = {wish.symbol: wish.why for wish in kept_wishes(folder)}
        for ability, (what, symbol) in abilities.items():
            if got.get(symbol) != "y":
                why = wishes.get(symbol, "it is not set")
                lacks[ability] = f"this {name} has no {what} ({symbol}: {why})"
        if kind == "linux":
            for ability, (what, function) in FUNCTIONS.items():
                if not _names(folder / "vmlinux", function):
                    lacks[ability] = f"this {name} has no {what} (no {function.decode()}())"
    return lacks


def _names(vmlinux: Path, symbol: bytes) -> bool:
    """Whether a kernel's symbol table has a name. (pyelftools would take seconds to read the whole table.)"""
    with vmlinux.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"\0" + symbol + b"\0") >= 0
